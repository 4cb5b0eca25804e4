"""Label shift: exact recovery where posteriors are exact, and the maximiser that scipy finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax
from scipy.stats import norm

from tl_research.errors import ConfigError
from tl_research.portfolio.prior import (
    PriorShift,
    bbse_shares,
    corrected,
    em_shares,
    log_shift,
    read_prior,
    shares_of,
)

CENTRES = np.array([-1.5, 0.0, 1.0])


def market(n: int, share: list[float], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows x ~ N(centre of the class, 1), with classes of these shares."""
    random = np.random.default_rng(seed)
    label = random.choice(len(share), n, p=share)
    return CENTRES[label] + random.normal(size=n), label


def posterior(x: np.ndarray, share: list[float]) -> np.ndarray:
    """The exact log posterior under these shares."""
    return log_softmax(norm.logpdf(x[:, None], CENTRES[: len(share)]) + np.log(share), axis=1)


OLD, NEW = [0.4, 0.3, 0.3], [0.1, 0.15, 0.75]


def test_the_exact_posterior_of_one_market_becomes_that_of_the_other():
    x, _ = market(500, NEW)
    found = corrected(posterior(x, OLD), log_shift(np.array(OLD), np.array(NEW)))
    np.testing.assert_allclose(found, posterior(x, NEW), atol=1e-12)


def test_equal_shares_change_nothing_and_there_and_back_is_where_one_was():
    logp = posterior(market(50, OLD)[0], OLD)
    np.testing.assert_array_equal(log_shift(np.array(OLD), np.array(OLD)), 0)
    there = corrected(logp, log_shift(np.array(OLD), np.array(NEW)))
    np.testing.assert_allclose(corrected(there, log_shift(np.array(NEW), np.array(OLD))), logp, atol=1e-12)


def test_balanced_labels_of_a_rare_class_predict_its_share():
    """The probability trap: half of the shown labels are positive, and 15 % of the market."""
    x, label = market(100_000, [0.85, 0.15])
    balanced = posterior(x, [0.5, 0.5])
    assert np.exp(balanced[:, 1]).mean() > 0.3
    found = np.exp(corrected(balanced, log_shift(np.array([0.5, 0.5]), np.array([0.85, 0.15]))))
    assert found[:, 1].mean() == pytest.approx(label.mean(), abs=0.003)


def test_em_recovers_the_shares_of_rows_without_labels():
    x, label = market(50_000, NEW)
    found = em_shares(posterior(x, OLD), np.array(OLD))
    np.testing.assert_allclose(found.share, np.bincount(label) / len(label), atol=0.01)
    assert found.gain > 0.1


def test_em_is_the_maximum_of_the_likelihood_that_scipy_finds():
    x, _ = market(400, NEW)
    logp = posterior(x, OLD)

    def loss(point: np.ndarray) -> float:
        return -np.log(np.exp(logp) / OLD @ np.exp(log_softmax(np.append(point, 0.0)))).mean()

    best = minimize(loss, np.zeros(2), tol=1e-12)
    found = em_shares(logp, np.array(OLD), steps=100_000, tolerance=1e-12)
    np.testing.assert_allclose(found.share, np.exp(log_softmax(np.append(best.x, 0.0))), atol=1e-5)
    assert found.gain == pytest.approx(-best.fun, abs=1e-9)


def test_em_without_a_shift_finds_none():
    x, _ = market(50_000, OLD)
    found = em_shares(posterior(x, OLD), np.array(OLD))
    np.testing.assert_allclose(found.share, OLD, atol=0.015)
    assert 0 <= found.gain < 1e-3


def test_em_of_predictions_that_say_nothing_keeps_the_shares():
    found = em_shares(np.log(np.tile(OLD, (100, 1))), np.array(OLD))
    np.testing.assert_allclose(found.share, OLD, atol=1e-12)
    assert (found.steps, found.gain) == (1, pytest.approx(0, abs=1e-12))


def test_bbse_recovers_the_shares_from_a_classifier_that_is_often_wrong():
    x, label = market(50_000, OLD)
    new, new_label = market(50_000, NEW, seed=1)

    def classify(rows):  # of a wrong model: shifted borders
        return np.digitize(rows, [-0.2, 1.1])

    found = bbse_shares(classify(x), label, classify(new), 3)
    np.testing.assert_allclose(found, np.bincount(new_label) / len(new), atol=0.03)
    np.testing.assert_allclose(bbse_shares(classify(x), label, classify(x), 3), np.bincount(label) / len(x), atol=1e-9)
    with pytest.raises(ValueError, match="predicts two classes alike"):
        bbse_shares(np.zeros(100, dtype=int), label[:100], np.zeros(5, dtype=int), 3)


def test_bbse_of_two_classes_by_hand():
    # Predicted 1: 60 % of class 1, 20 % of class 0. Of new rows 50 % are predicted as 1: 0.6 s + 0.2 (1 - s) = 0.5.
    label = np.repeat([0, 1], [10, 10])
    predicted = np.concatenate([np.repeat([0, 1], [8, 2]), np.repeat([0, 1], [4, 6])])
    assert bbse_shares(predicted, label, np.repeat([0, 1], [5, 5]), 2)[1] == pytest.approx(0.75)
    # Beyond what the confusions allow: all rows are of class 1.
    assert bbse_shares(predicted, label, np.ones(4, dtype=int), 2)[1] == pytest.approx(1.0)


def test_a_class_without_a_shown_label_keeps_its_place():
    shift = log_shift(np.array([0.5, 0.5, 0.0]), np.array([0.6, 0.2, 0.2]))
    np.testing.assert_allclose(shift, [np.log(1.5), np.log(0.5), 0])
    found = em_shares(np.log([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1]]), np.array([0.5, 0.5, 0.0]))
    assert found.share[2] == 0
    assert found.share.sum() == pytest.approx(1)


def test_the_module_keeps_the_shift_in_its_file():
    logp = torch.from_numpy(posterior(market(20, OLD)[0], OLD))
    module = PriorShift()
    assert module(logp) is logp
    shift = log_shift(np.array(OLD), np.array(NEW))
    module.take(shift, logp.device)
    again = PriorShift()
    again.load_state_dict(module.state_dict())
    np.testing.assert_allclose(again(logp).numpy(), corrected(logp.numpy(), shift), atol=1e-12)


def test_shares_as_a_user_writes_them():
    names = ("no", "yes")
    np.testing.assert_allclose(read_prior("0.15", names), [0.85, 0.15])
    np.testing.assert_allclose(read_prior("yes=0.15", names), [0.85, 0.15])
    np.testing.assert_allclose(read_prior("no=0.9", names), [0.9, 0.1])
    np.testing.assert_allclose(read_prior("b=0.2, c=0.3", ("a", "b", "c")), [0.5, 0.2, 0.3])
    np.testing.assert_allclose(shares_of([0.2, 0.8], names, key="method.prior"), [0.2, 0.8])


@pytest.mark.parametrize(
    ("text", "classes", "message"),
    [
        ("maybe=0.1", "no yes", "--prior: got 'maybe', wants one of the classes no, yes"),
        ("much", "no yes", "--prior: got 'much', wants a share such as 0.15, or yes=0.15"),
        ("15", "no yes", "got no=-14, yes=15, wants shares above 0 that add up to 1"),
        ("0", "no yes", "wants shares above 0"),
        ("nan", "no yes", "wants shares above 0"),
        ("no=0.2,yes=0.3", "no yes", "add up to 1"),
        ("0.2,b=0.3", "a b c", "got '0.2,b=0.3', wants a name before each share, or before none"),
        ("0.2", "a b c", "got '0.2' for 3 classes, wants NAME=SHARE for the classes a, b, c"),
        ("a=0.2", "a b c", "the shares of b, c are missing"),
    ],
)
def test_shares_that_are_none_are_one_clear_error(text, classes, message):
    with pytest.raises(ConfigError, match=message):
        read_prior(text, classes.split())


def test_another_number_of_shares_is_refused():
    with pytest.raises(ConfigError, match=r"^method\.prior: got 3 shares, wants 2, one for each of no, yes"):
        shares_of([0.2, 0.3, 0.5], ("no", "yes"), key="method.prior")
