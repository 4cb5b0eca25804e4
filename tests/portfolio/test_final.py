"""The last calibration: known distortions are undone, right probabilities are left alone, and order is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from tl_research.portfolio.final import (
    CALIBRATORS,
    NONE,
    PRIOR_ROWS,
    FinalCalibration,
    applied,
    choose_calibrator,
)

TEMPERATURE, BETA, ISOTONIC = CALIBRATORS["class"]


def drawn(n: int, *, slope: float = 1.0, bias: float = 0.0, seed: int = 0, bend=None):
    """Log probabilities (n, 2) of log odds z; labels have the log odds slope · z + bias, or `bend(z)`."""
    random = np.random.default_rng(seed)
    z = random.normal(-0.5, 1.5, n)
    odds = slope * z + bias if bend is None else bend(z)
    label = (random.random(n) < 1 / (1 + np.exp(-odds))).astype(int)
    return log_softmax(np.column_stack([np.zeros(n), z]), axis=1), label


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_temperature_is_the_slope_of_logistic_regression_without_intercept(slope):
    logp, label = drawn(40_000, slope=slope)
    found = TEMPERATURE.fit(logp, label)["slope"]
    platt = LogisticRegression(C=1e9, fit_intercept=False, tol=1e-10).fit((logp[:, 1] - logp[:, 0])[:, None], label)
    assert found == pytest.approx(platt.coef_[0, 0], abs=0.01)


def test_beta_is_the_one_of_a_logistic_regression_on_both_logarithms():
    """Kull et al.: logistic regression on ln p and -ln (1 - p); without weights to hold them they agree."""
    logp, label = drawn(60_000, bend=lambda z: 0.6 * np.log1p(np.exp(z)) - 1.8 * np.log1p(np.exp(-z)) + 0.4)
    found = BETA.fit(logp, label)
    columns = np.column_stack([logp[:, 1], -logp[:, 0]])
    free = LogisticRegression(C=1e9, tol=1e-10, max_iter=10_000).fit(columns, label)
    np.testing.assert_allclose(found["slope"][::-1], free.coef_[0], atol=0.05)
    assert found["bias"][1] - found["bias"][0] == pytest.approx(free.intercept_[0], abs=0.05)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_fit_is_the_minimum_of_its_formula(classes):
    random = np.random.default_rng(0)
    label = random.integers(0, classes, 200)
    z = random.normal(size=(200, classes))
    z[np.arange(200), label] += 1
    logp = log_softmax(3 * z, axis=1)

    def of_beta(point):
        moved = log_softmax(np.exp(point[:classes]) * logp + point[classes:], axis=1)
        return -moved[np.arange(200), label].sum() + PRIOR_ROWS / 2 * (point**2).sum()

    found = BETA.fit(logp, label)
    here = np.concatenate([np.log(found["slope"]), found["bias"]])
    assert of_beta(here) == pytest.approx(minimize(of_beta, np.zeros(2 * classes), tol=1e-12).fun, rel=1e-6)

    def of_temperature(point):
        moved = log_softmax(np.exp(point[0]) * logp, axis=1)
        return -moved[np.arange(200), label].sum() + PRIOR_ROWS / 2 * point[0] ** 2

    best = minimize(of_temperature, np.zeros(1), tol=1e-12).fun
    assert of_temperature([np.log(TEMPERATURE.fit(logp, label)["slope"])]) == pytest.approx(best, rel=1e-8)


def test_isotonic_is_near_the_steps_of_scikit_learn_and_keeps_the_order():
    logp, label = drawn(20_000, bend=lambda z: 0.5 * z**3)
    p = np.exp(logp[:, 1])
    moved = np.exp(applied(ISOTONIC, logp, ISOTONIC.fit(logp, label))[:, 1])
    steps = IsotonicRegression().fit_transform(p, label)
    assert np.abs(moved - steps).mean() < 0.02
    assert np.abs(moved - 1 / (1 + np.exp(-0.5 * (logp[:, 1] - logp[:, 0]) ** 3))).mean() < 0.02
    order = np.argsort(p)
    assert (np.diff(moved[order]) >= 0).all()
    assert roc_auc_score(label, moved) == pytest.approx(roc_auc_score(label, p), abs=1e-3)
    assert moved.min() > 0
    assert moved.max() < 1


@pytest.mark.parametrize("calibrator", CALIBRATORS["class"], ids=lambda each: each.name)
def test_probabilities_add_up_and_few_rows_move_little(calibrator):
    logp, label = drawn(3000, slope=0.5)
    moved = np.exp(applied(calibrator, logp, calibrator.fit(logp, label)))
    np.testing.assert_allclose(moved.sum(axis=1), 1, atol=1e-9)
    assert np.isfinite(np.log(moved)).all()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("right", NONE),
        ("too sure", "temperature"),
        ("shifted", "beta"),
        ("bent", "isotonic"),
    ],
)
def test_the_simplest_that_suffices_is_chosen(name, wanted):
    problems = {
        "right": {},
        "too sure": {"slope": 0.5},
        "shifted": {"slope": 0.7, "bias": -1.5},
        "bent": {"bend": lambda z: 3 * np.tanh(3 * (z + 0.5))},
    }
    chosen = [
        choose_calibrator("class", *drawn(6000, seed=seed, **problems[name]), seed=seed).name for seed in range(5)
    ]
    assert chosen.count(wanted) >= 4, chosen


def test_of_right_probabilities_a_needless_calibration_is_rare_and_harmless():
    chosen, costs = [], []
    for seed in range(60):
        logp, label = drawn(200, seed=seed)
        choice = choose_calibrator("class", logp, label, seed=seed)
        chosen.append(choice.name)
        test, truth = drawn(4000, seed=1000 + seed)
        by_name = {each.name: each for each in CALIBRATORS["class"]}
        moved = test if choice.name == NONE else applied(by_name[choice.name], test, choice.kept)
        rows = np.arange(len(truth))
        costs.append(float((test[rows, truth] - moved[rows, truth]).mean()))
    assert chosen.count(NONE) >= 40
    assert np.mean(costs) < 0.003


def test_with_few_rows_or_numbers_nothing_is_tried():
    logp, label = drawn(29, slope=0.2)
    assert choose_calibrator("class", logp, label, seed=0) == (NONE, {}, {})
    assert choose_calibrator("regression", np.zeros((500, 1)), np.zeros(500), seed=0).name == NONE
    rare, label = drawn(200, bias=-9.0)
    assert label.sum() < 5
    assert choose_calibrator("class", rare, label, seed=0).loss == {}
    assert list(choose_calibrator("class", *drawn(50), seed=0).loss) == [NONE, "temperature"]


@pytest.mark.parametrize("problem", [{"slope": 0.5}, {"slope": 0.7, "bias": -1.5}, {"bend": lambda z: 3 * np.sin(z)}])
def test_the_module_does_what_was_chosen_and_keeps_it_in_its_file(problem):
    logp, label = drawn(6000, **problem)
    choice = choose_calibrator("class", logp, label, seed=0)
    module, said = FinalCalibration("class"), torch.from_numpy(logp)
    assert module(said) is said
    module.take(choice, said.device)
    again = FinalCalibration("class")
    again.load_state_dict(module.state_dict())
    by_name = {each.name: each for each in CALIBRATORS["class"]}
    np.testing.assert_allclose(again(said).numpy(), applied(by_name[choice.name], logp, choice.kept), atol=1e-9)
    before = -said[torch.arange(len(label)), label].mean()
    assert -again(said)[torch.arange(len(label)), label].mean() < before - 0.01
