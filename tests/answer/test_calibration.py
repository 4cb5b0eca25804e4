"""The calibration of an answer: coverage by simulation, closed forms, and a warning that is rare where all is right."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.special import expit

from tl_research.answer.calibration import (
    FEWEST_FOR_ECE,
    Calibration,
    _mean_interval,
    calibration_of,
    draw_reliability,
    judged,
    means,
    without_chance,
)
from tl_research.metrics.classes import ECE_BINS, ClassRows
from tl_research.metrics.probabilities import equal_width
from tl_research.metrics.registered import values_of
from tl_research.metrics.requested import find_metric
from tl_research.outcomes import ClassOutcome, NumberOutcome

NAMES = ("no", "yes")


def drawn(n: int, seed: int, *, slope: float = 1.0, bias: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Log odds z of a rarer second class, and labels of the log odds slope · z + bias."""
    random = np.random.default_rng([seed, n])
    z = random.normal(-1.5, 1.5, n)
    label = random.random(n) < expit(slope * z + bias)
    return torch.from_numpy(np.column_stack([np.zeros(n), z])), torch.from_numpy(label.astype(np.int64))


def of(n: int, seed: int, **truth: float) -> Calibration:
    return calibration_of(*drawn(n, seed, **truth), names=NAMES, seed=seed)


def true_ece(slope: float, bias: float) -> float:
    z = np.random.default_rng(0).normal(-1.5, 1.5, 1_000_000)
    p, q = expit(z), expit(slope * z + bias)
    bins = np.searchsorted(np.arange(1, ECE_BINS) / ECE_BINS, p, side="left")
    return np.abs(np.bincount(bins, weights=q - p)).sum() / len(z)


TRUTHS = [(1.0, 0.0), (1.0, 1.0), (0.4, -0.5)]


@pytest.mark.parametrize(("slope", "bias"), TRUTHS)
def test_the_intervals_of_means_cover_the_truth(slope, bias):
    """400 rows, 4,000 draws: chance alone moves a coverage of 95 % by 1 point. (Of 200 draws it may well be 90 %.)"""
    z = np.random.default_rng(0).normal(-1.5, 1.5, 1_000_000)
    q, p = expit(slope * z + bias), expit(z)
    truth = {"off": (q - p).mean(), "brier": (q * (1 - p) ** 2 + (1 - q) * p**2).mean()}
    covered = dict.fromkeys(truth, 0)
    for seed in range(4000):
        logits, label = drawn(400, seed, slope=slope, bias=bias)
        gap = label.numpy() - expit(logits[:, 1].numpy())
        for name, values in (("off", gap), ("brier", gap**2)):
            interval = _mean_interval(values)
            covered[name] += interval.low <= truth[name] <= interval.high
    for name, count in covered.items():
        assert 0.93 < count / 4000 < 0.965, (name, count)


@pytest.mark.slow
@pytest.mark.parametrize(("slope", "bias"), TRUTHS)
def test_the_interval_of_the_calibration_error_covers_the_truth(slope, bias):
    """400 rows, 200 draws: of a coverage of 95 %, 184 are what chance leaves in 97 of 100 cases."""
    ece = true_ece(slope, bias)
    found = [of(400, seed, slope=slope, bias=bias).ece for seed in range(200)]
    assert sum(each.low - 1e-9 <= ece <= each.high + 1e-9 for each in found) >= 184


def test_the_error_of_right_probabilities_is_chance_and_that_of_wrong_ones_is_not():
    right = [of(400, seed) for seed in range(40)]
    assert np.mean([each.ece_measured for each in right]) == pytest.approx(0.045, abs=0.01)
    assert np.mean([each.ece_of_chance for each in right]) == pytest.approx(0.045, abs=0.01)
    assert np.median([each.ece.value for each in right]) < 0.015
    assert np.mean([each.ece.low > 0 for each in right]) < 0.1
    wrong = [of(400, seed, bias=1.0) for seed in range(40)]
    assert np.median([each.ece.value for each in wrong]) == pytest.approx(true_ece(1.0, 1.0), abs=0.02)
    assert np.mean([each.ece.low > 0 for each in wrong]) > 0.95


def test_of_many_rows_it_is_the_metric_and_the_truth():
    logits, label = drawn(100_000, 0, slope=0.5)
    found = calibration_of(logits, label, names=NAMES)
    rows = ClassRows.of(logits, label)
    assert found.ece_measured == pytest.approx(equal_width(rows.probability[:, 1], rows.label == 1).error, abs=1e-12)
    assert found.ece.value == pytest.approx(true_ece(0.5, 0.0), abs=0.005)
    assert found.brier.value == pytest.approx(find_metric("brier").function(rows), abs=1e-12)
    assert found.predicted == pytest.approx(rows.probability[:, 1].mean())
    assert found.happened == pytest.approx(label.double().mean().item())
    assert found.off.value == pytest.approx(found.happened - found.predicted)


def test_of_several_classes_the_error_is_the_metric_ece():
    random = np.random.default_rng(0)
    z, label = torch.from_numpy(random.normal(size=(300, 4))), torch.from_numpy(random.integers(0, 4, 300))
    found = calibration_of(z, label, names="abcd")
    assert found.ece_measured == pytest.approx(values_of("class", ClassRows.of(z, label))["ece"], abs=1e-12)


def test_probabilities_of_balanced_labels_have_an_error_that_confidence_hides():
    """The second class is said to be far more common than it is."""
    logits, label = drawn(5000, 0, bias=-2.0)
    found = calibration_of(logits, label, names=NAMES)
    assert found.ece.low > 0.1
    assert found.ece.value == pytest.approx(-found.off.value, abs=0.01)
    assert values_of("class", ClassRows.of(logits, label))["ece"] < 0.8 * found.ece_measured


def test_the_warning_is_rare_where_probabilities_are_right_and_sure_where_they_are_not():
    assert sum(of(300, seed).is_off for seed in range(200)) <= 8  # 2 expected
    assert all(of(300, seed, bias=1.0).is_off for seed in range(20))


def test_of_several_classes_a_warning_is_rare_too_and_names_the_one_that_is_off():
    random = np.random.default_rng(0)
    warned = 0
    for _ in range(100):
        z = torch.from_numpy(random.normal(size=(200, 8)))
        label = torch.tensor([random.choice(8, p=p) for p in z.softmax(1).numpy()])
        warned += calibration_of(z, label, names="abcdefgh").is_off
    assert warned <= 5  # 1 expected
    z = torch.from_numpy(random.normal(size=(500, 3)))
    truth = z + torch.tensor([0.0, 0.0, 2.0])
    label = torch.tensor([random.choice(3, p=p) for p in truth.softmax(1).numpy()])
    found = calibration_of(z, label, names=("a", "b", "c"))
    assert (found.class_name, found.is_off) == ("c", True)


def test_what_is_said_of_one_row_several_times_counts_as_one_row():
    logits, label = drawn(300, 1)
    once = calibration_of(logits, label, names=NAMES)
    place = np.tile(np.arange(300), 4)
    often = calibration_of(logits.repeat(4, 1), label.repeat(4), names=NAMES, row=place)
    assert often.rows == once.rows == 300
    for name in ("off", "ece", "brier"):
        np.testing.assert_allclose(getattr(often, name), getattr(once, name), atol=1e-9)
    # Taken for other rows, the interval would be half as wide.
    wrong = calibration_of(logits.repeat(4, 1), label.repeat(4), names=NAMES)
    assert wrong.off.high - wrong.off.low < 0.6 * (once.off.high - once.off.low)


def test_without_chance_by_hand():
    # No noise: every bin's gap is the same in every bootstrap sample, so the error is what is measured.
    gap, bins = np.full(100, 0.1), np.zeros(100, dtype=int)
    interval, of_chance = without_chance(gap, bins, np.arange(100))
    np.testing.assert_allclose(interval, 0.1, atol=1e-6)
    assert of_chance == pytest.approx(0, abs=1e-12)
    # Right in the mean of its one bin: nothing but noise.
    interval, of_chance = without_chance(np.tile([0.5, -0.5], 50), bins, np.arange(100))
    assert interval == (0, 0, 0)
    # The mean of |N(0, 0.5 / 10)|.
    assert of_chance == pytest.approx(0.05 * np.sqrt(2 / np.pi), rel=0.1)


def test_the_line_and_the_warning_say_it_in_words():
    found = of(2000, 0, bias=1.0)
    low, high = 100 * found.off.low, 100 * found.off.high
    assert found.line() == (
        f"Probabilities of 'yes': mean {100 * found.predicted:.1f} % predicted, {100 * found.happened:.1f} % happened; "
        f"ECE {found.ece.value:.3f} [{found.ece.low:.3f}, {found.ece.high:.3f}]; "
        f"Brier {found.brier.value:.3f} [{found.brier.low:.3f}, {found.brier.high:.3f}]"
    )
    assert "are too low" in found.warning()
    assert f"[{low:+.1f}, {high:+.1f}]" in found.warning()
    assert of(2000, 0).warning() is None
    assert "are too high" in of(2000, 0, bias=-1.0).warning()
    again = json.loads(json.dumps(found.as_dict()))
    assert again["ece"] == list(found.ece)
    assert again["is_off"] is True


def test_on_few_rows_no_calibration_error_is_said():
    """It may be 0 on few rows whatever the probabilities are; Brier ends where it can."""
    few, enough = (of(rows, 0, slope=3.0, bias=2.0) for rows in (FEWEST_FOR_ECE - 1, FEWEST_FOR_ECE))
    assert "; ECE too few rows to tell (99, wants 100); Brier 0." in few.line()
    assert f"; ECE {enough.ece}; Brier" in enough.line()
    wrong = calibration_of(torch.tensor([[0.0, 9.0]] * 3 + [[2.0, 0.0]]), torch.tensor([0, 0, 0, 0]), names=NAMES)
    assert 0 <= wrong.brier.low <= wrong.brier.value <= wrong.brier.high == 1.0
    assert -1 <= wrong.off.low <= wrong.off.value


def test_an_outcome_is_judged_by_its_kind():
    logits, label = drawn(50, 0)
    classes, numbers = ClassOutcome(NAMES), NumberOutcome(2.0, 3.0)
    assert judged(classes, logits, label) == calibration_of(logits, label, names=NAMES)
    assert judged(numbers, torch.zeros(4, 1), torch.ones(4)) is None
    assert means(numbers, torch.zeros(4, 1), torch.ones(4)) == {"": (2.0, 1.0)}
    assert list(means(classes, logits, label)) == ["yes"]
    with pytest.raises(ValueError, match="two different rows"):
        calibration_of(logits[:1], label[:1], names=NAMES)


def test_the_plot_shows_the_bins():
    from matplotlib.figure import Figure

    logits, label = drawn(1000, 0)
    axes = Figure().add_subplot()
    p = logits.softmax(1)[:, 1].numpy()
    bins = draw_reliability(axes, p, label.numpy() == 1, name="yes")
    assert len(bins.rows) == 10
    assert bins.rows.sum() == 1000
    points = axes.lines[1]
    np.testing.assert_allclose(points.get_xdata(), bins.predicted)
    np.testing.assert_allclose(points.get_ydata(), bins.happened)
    assert axes.get_xlabel() == "predicted probability of 'yes'"
