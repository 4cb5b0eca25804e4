"""Calibration, convex weights and the gain of one combination over another, against closed forms and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from tl_research.portfolio.combine import (
    PRIOR_ROWS,
    bagged_weights,
    calibrate,
    gain,
)
from tl_research.portfolio.mixtures import BEST, MIXTURES, best_of

CLASS, NUMBER = MIXTURES["class"], MIXTURES["regression"]


def drawn(n: int, strength: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Log probabilities (n, 2) of log odds z, and labels drawn with the log odds strength · z."""
    random = np.random.default_rng(seed)
    z = random.normal(0, 2, n)
    label = (random.random(n) < 1 / (1 + np.exp(-strength * z))).astype(int)
    return log_softmax(np.column_stack([np.zeros(n), z]), axis=1), label


@pytest.mark.parametrize("strength", [0.4, 1.0, 2.0])
def test_on_many_rows_the_slope_is_the_one_of_logistic_regression(strength):
    said, label = drawn(40_000, strength)
    found = calibrate(CLASS, said, label)
    odds = (said[:, 1] - said[:, 0])[:, None]
    platt = LogisticRegression(C=1e9, tol=1e-10).fit(odds, label)
    assert found.slope == pytest.approx(platt.coef_[0, 0], abs=0.01)
    assert found.bias[1] - found.bias[0] == pytest.approx(platt.intercept_[0], abs=0.01)
    assert found.slope == pytest.approx(strength, abs=0.05)


def test_it_is_a_stationary_point_of_its_formula():
    said, label = drawn(60, 0.3)
    found = calibrate(CLASS, said, label)

    def objective(point):
        moved = CLASS.calibrated(said, np.exp(point[0]), point[1:])
        return CLASS.row_losses(moved, label).sum() + PRIOR_ROWS / 2 * (point**2).sum()

    here = np.concatenate([[np.log(found.slope)], found.bias])
    best = minimize(objective, np.zeros(3), tol=1e-12)
    assert objective(here) == pytest.approx(best.fun, rel=1e-6)


def test_few_rows_leave_a_part_nearly_as_it_is():
    said, label = drawn(3, 1.0)
    found = calibrate(CLASS, said, label)
    assert 0.7 < found.slope < 1.5
    assert np.abs(found.bias).max() < 0.2


def test_a_number_is_moved_by_slope_and_bias():
    z = np.random.default_rng(0).normal(size=(5000, 1))
    found = calibrate(NUMBER, z, 0.5 * z[:, 0] + 2.0)
    assert (found.slope, found.bias[0]) == (pytest.approx(0.5, abs=0.01), pytest.approx(2.0, abs=0.01))


def parts_of(label: np.ndarray, skill: list[float], seed: int = 1) -> np.ndarray:
    """Parts (k, n, 2) whose log odds are skill · (±1) plus noise of deviation 1."""
    random = np.random.default_rng(seed)
    odds = np.array(skill)[:, None] * (2 * label - 1) + random.normal(size=(len(skill), len(label)))
    return log_softmax(np.stack([np.zeros_like(odds), odds], axis=2), axis=2)


def test_weights_of_a_mixture_are_those_of_a_solver():
    label = np.random.default_rng(0).integers(0, 2, 500)
    said = parts_of(label, [1.0, 0.8, 0.2])
    found = CLASS.weights(said, label, np.ones(500), prior=np.full(3, 1 / 3), prior_rows=6.0, steps=5000)

    def objective(point):
        w = np.exp(point) / np.exp(point).sum()
        return CLASS.row_losses(CLASS.combined(said, w), label).sum() - 2.0 * np.log(w).sum()

    best = minimize(objective, np.zeros(3), tol=1e-12).x
    np.testing.assert_allclose(found, np.exp(best) / np.exp(best).sum(), atol=1e-4)


def test_weights_of_numbers_are_least_squares_on_the_simplex():
    random = np.random.default_rng(0)
    y = random.normal(size=2000)
    said = np.stack([y + random.normal(size=2000), y + 2 * random.normal(size=2000)])[:, :, None]
    # The optimum of two unbiased parts of independent noise: inverse variances, 4 : 1.
    found = NUMBER.weights(said, y, np.ones(2000), prior=np.full(2, 0.5), prior_rows=0.0, steps=2000)
    np.testing.assert_allclose(found, [0.8, 0.2], atol=0.03)


def test_few_rows_leave_the_weights_nearly_equal_and_with_many_the_better_part_is_heard():
    for n, low, high in ((4, 0.35, 0.6), (5000, 0.9, 1.001)):
        label = np.random.default_rng(0).integers(0, 2, n)
        weight = bagged_weights(CLASS, parts_of(label, [3.0, 0.0, 0.0]), label, seed=0).weight
        assert weight.sum() == pytest.approx(1)
        assert low < weight[0] < high


def test_equal_parts_gain_nothing_and_better_ones_do():
    label = np.random.default_rng(0).integers(0, 2, 300)
    good, bad = parts_of(label, [1.5]), parts_of(label, [0.0], seed=2)
    alone, twice = (
        bagged_weights(CLASS, bad, label, seed=0),
        bagged_weights(CLASS, np.concatenate([bad, bad]), label, seed=0),
    )
    none = gain(twice, alone)
    assert none.mean == pytest.approx(0, abs=1e-9)
    some = gain(bagged_weights(CLASS, np.concatenate([bad, good]), label, seed=0), alone)
    assert some.mean > 5 * some.error > 0


def test_the_prior_of_a_part_is_its_tempered_likelihood():
    """A row that is drawn twice is twice the evidence; of numbers it is that of normal errors of their own variance."""
    label = np.random.default_rng(0).integers(0, 2, 50)
    losses = np.stack([CLASS.row_losses(part, label) for part in parts_of(label, [1.0, 0.2])])
    found = CLASS.log_likelihood(losses, np.full(50, 2.0))
    p = np.exp(-losses)
    np.testing.assert_allclose(found, 2 * np.log(p).sum(axis=1))
    errors = np.random.default_rng(1).normal(size=(2, 50)) * np.array([[1.0], [3.0]])
    said = NUMBER.log_likelihood(0.5 * errors**2, np.ones(50))
    variance = (errors**2).mean(axis=1)
    normal = -25 * np.log(2 * np.pi * variance) - 25
    assert said[0] - said[1] == pytest.approx(normal[0] - normal[1])


def test_a_part_that_few_labels_already_show_to_be_bad_is_hardly_heard():
    label = np.random.default_rng(0).integers(0, 2, 40)
    bad = log_softmax(np.stack([2.0 * label, -2.0 * label], axis=1), axis=1)  # sure of the wrong class
    said = np.concatenate([parts_of(label, [2.0]), bad[None]])
    assert bagged_weights(CLASS, said, label, seed=0).weight[1] < 0.02


def test_of_numbers_only_the_best_parts_share_the_prior():
    """Forty labels, twelve parts of growing noise: those behind the eighth get no share of the prior's thirty rows."""
    random = np.random.default_rng(0)
    y = random.normal(size=40)
    said = np.stack([y + scale * random.normal(size=40) for scale in np.linspace(0.5, 3.0, 12)])[:, :, None]
    prior = np.arange(12, 0, -1) / 78
    found = NUMBER.weights(said, y, np.ones(40), prior=prior, prior_rows=1e9, steps=1)
    np.testing.assert_allclose(found, np.r_[prior[:BEST] / prior[:BEST].sum(), np.zeros(4)], atol=1e-6)


def test_up_to_eight_parts_keep_their_prior_to_the_last_bit():
    prior = np.random.default_rng(0).dirichlet(np.ones(BEST))
    assert best_of(prior, BEST) is prior


def test_of_classes_all_parts_share_the_prior():
    label = np.random.default_rng(0).integers(0, 2, 20)
    said = parts_of(label, [0.5] * 12)
    prior = np.arange(12, 0, -1) / 78
    found = CLASS.weights(said, label, np.ones(20), prior=prior, prior_rows=1e9, steps=1)
    np.testing.assert_allclose(found, prior, atol=1e-6)
