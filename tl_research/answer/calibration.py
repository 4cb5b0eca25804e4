"""Are the answer's probabilities right? Their mean, their calibration error and their Brier score, with intervals.

They are judged on rows that were not learnt from. A row may be there several times, once for each resample that tests
on it; intervals draw whole rows, with all that was said of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import norm
from torch import Tensor

from tl_research.metrics.classes import ECE_BINS, ClassRows
from tl_research.metrics.intervals import wilson
from tl_research.metrics.probabilities import Bins, equal_size, equal_width
from tl_research.outcomes import Outcome

LEVEL = 0.95
#: Chance of a warning where the probabilities are right.
FALSE_WARNINGS = 0.01
#: Different rows below which no calibration error is said: its interval has been tried on so many and more
#: (docs/metrics.md), and on fewer the noise of 15 bins is as large as any error that matters, so that it may read 0.
FEWEST_FOR_ECE = 100
#: Bootstrap samples of the rows.
SAMPLES = 1000


class Interval(NamedTuple):
    """A figure and the ends of its interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Calibration:
    """How right the probabilities of a class are.

    Fields:
        class_name: of two classes the second; of more the one whose mean is furthest off, in standard errors.
        rows: different rows that were judged.
        predicted, happened: mean probability of the class, and share of rows that are of it.
        off: happened minus predicted.
        is_off: whether this is more than chance explains.
        ece: calibration error in 15 bins of equal width, without what chance adds; of two classes in those of the
            second's probability, of more in those of the confidence in the predicted class (as the metric `ece`).
        ece_measured, ece_of_chance: as it is measured, and what right probabilities would have on so many rows.
        brier: as the metric `brier`.
    """

    class_name: str
    rows: int
    predicted: float
    happened: float
    off: Interval
    is_off: bool
    ece: Interval
    ece_measured: float
    ece_of_chance: float
    brier: Interval

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def line(self) -> str:
        """Return the calibration in one line."""
        too_few = f"too few rows to tell ({self.rows}, wants {FEWEST_FOR_ECE})"
        return (
            f"Probabilities of {self.class_name!r}: mean {_percent(self.predicted)} predicted, "
            f"{_percent(self.happened)} happened; ECE {self.ece if self.rows >= FEWEST_FOR_ECE else too_few}; "
            f"Brier {self.brier}"
        )

    def warning(self) -> str | None:
        """Return a warning where the mean prediction is off the base rate beyond chance, else None."""
        if not self.is_off:
            return None
        side = "low" if self.off.value > 0 else "high"
        return (
            f"the probabilities of {self.class_name!r} are too {side}: mean {_percent(self.predicted)} predicted, "
            f"{_percent(self.happened)} happened, {100 * self.off.value:+.1f} points "
            f"[{100 * self.off.low:+.1f}, {100 * self.off.high:+.1f}]; where the share of the market is known, give it "
            "with --prior"
        )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def calibration_of(
    logp: Tensor, label: Tensor, *, names: Sequence[str], row: Sequence[int] | None = None, seed: int = 0
) -> Calibration:
    """Judge the probabilities of rows that were not learnt from.

    Args:
        logp: (n, classes) log probabilities or logits.
        label: (n,) class indices.
        names: of the classes.
        row: (n,) which row each is; None: each another one. What was said of one row several times counts as one row.
        seed: of the bootstrap.

    The intervals of the mean's gap and of Brier are normal, with the standard error over rows. The calibration error
    of right probabilities is above zero on any number of rows, so it is given `without_chance`; in a simulation its
    nominal 95 % cover the truth in 94.8 % of the cases (`docs/metrics.md`). The intervals are of the rows alone: they
    do not know how much other training rows would change the model.

    Raises:
        ValueError: as of `ClassRows.of`, or fewer than two different rows.
    """
    found = ClassRows.of(logp, label)
    place = _places(row, len(found.label))
    if place.max() == 0:
        raise ValueError("calibration: wants two different rows or more")
    is_class = found.label[:, None] == np.arange(found.classes)
    gaps = _by_row(is_class - found.probability, place)
    judged = [1] if found.classes == 2 else list(range(found.classes))
    error = np.maximum(gaps.std(axis=0, ddof=1) / math.sqrt(len(gaps)), np.finfo(float).tiny)
    # The class that is furthest off, and a limit that allows for having looked at all of them.
    which = max(judged, key=lambda c: abs(gaps[:, c].mean()) / error[c])
    limit = norm.ppf(1 - FALSE_WARNINGS / 2 / len(judged))
    off = gaps[:, which].mean()
    squares = ((is_class - found.probability) ** 2).sum(axis=1) / (2 if found.classes == 2 else 1)
    said, happened = found.probability.max(axis=1), found.prediction == found.label
    if found.classes == 2:
        # Confidence hides that a rare class is said to be common: where 0.4 is said and 0.15 happens, "the other class,
        # 0.6" is right in 0.85, and rows of both sides cancel in one bin.
        said, happened = found.probability[:, 1], is_class[:, 1]
    bins = np.searchsorted(np.arange(1, ECE_BINS) / ECE_BINS, said, side="left")
    ece, of_chance = without_chance(happened - said, bins, place, seed=seed)
    return Calibration(
        class_name=str(names[which]),
        rows=len(gaps),
        predicted=float(_by_row(found.probability[:, which], place).mean()),
        happened=float(_by_row(is_class[:, which], place).mean()),
        off=_within(_mean_interval(gaps[:, which]), -1.0, 1.0),
        is_off=bool(abs(off) > limit * error[which]),
        ece=ece,
        ece_measured=equal_width(said, happened).error,
        ece_of_chance=of_chance,
        brier=_within(_mean_interval(_by_row(squares, place)), 0.0, 1.0 if found.classes == 2 else 2.0),
    )


def _places(row: Sequence[int] | None, count: int) -> np.ndarray:
    return np.arange(count) if row is None else np.unique(np.asarray(row), return_inverse=True)[1]


def _by_row(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return the mean (rows, ...) of what is said of each row."""
    sums = np.zeros((place.max() + 1, *values.shape[1:]))
    np.add.at(sums, place, values)
    return (sums.T / np.bincount(place)).T


def _mean_interval(values: np.ndarray) -> Interval:
    half = norm.ppf((1 + LEVEL) / 2) * values.std(ddof=1) / math.sqrt(len(values))
    return Interval(float(values.mean()), float(values.mean() - half), float(values.mean() + half))


def _within(found: Interval, least: float, most: float) -> Interval:
    """Return the interval without what the figure cannot be."""
    return found._replace(low=max(found.low, least), high=min(found.high, most))


def without_chance(gap: np.ndarray, bins: np.ndarray, place: np.ndarray, *, seed: int = 0) -> tuple[Interval, float]:
    """Return a calibration error without what chance adds, its interval, and what chance adds to none.

    The measured Σ_b |d_b|, d_b = Σ_{i in b} gap_i / n, is above the truth Σ_b |δ_b|: the noise of the bins does not
    cancel. Were the truth s times what was measured, δ_b = s d_b, one would measure Σ_b |s d_b + e_b|, with noise e_b
    from the bootstrap over rows. The value is the s under which half of these are larger than what was measured, and
    the ends are those under which 2.5 % are larger, and smaller; 0 where there is no such s.

    Args:
        gap: (n,) what happened minus what was predicted.
        bins: (n,) bin of each.
        place: (n,) row of each; whole rows are drawn.
        seed: of the bootstrap.
    """
    rows, count = place.max() + 1, bins.max() + 1
    sums = np.zeros((rows, count))
    np.add.at(sums, (place, bins), gap / len(gap))
    measured = sums.sum(axis=0)
    random = np.random.default_rng(seed)
    draws = np.stack([np.bincount(random.integers(rows, size=rows), minlength=rows) @ sums for _ in range(SAMPLES)])
    noise = draws - measured
    total = float(np.abs(measured).sum())

    def share_above(scale: float) -> float:
        return float((np.abs(scale * measured + noise).sum(axis=1) > total).mean())

    tail = (1 - LEVEL) / 2
    low, value, high = (_where(share_above, wanted) for wanted in (tail, 0.5, 1 - tail))
    return Interval(*(scale * total for scale in (value, low, high))), float(np.abs(noise).sum(axis=1).mean())


def _where(rising: Callable[[float], float], wanted: float) -> float:
    """Return the scale, 0 or more, at which a rising share reaches what is wanted."""
    low, high = 0.0, 2.0
    if rising(0.0) >= wanted:
        return 0.0
    while rising(high) < wanted and high < 1e6:
        high *= 2
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) >= wanted else (middle, high)
    return high


def draw_reliability(axes: Any, probability: np.ndarray, positive: np.ndarray, *, name: str) -> Bins:
    """Draw how often a class happened against how probable it was said to be; return the bins.

    Ten bins of equal size; a bar is the 95 % Wilson interval of its share. On the diagonal probabilities are right.

    Args:
        axes: of matplotlib.
        probability: (n,) of the class.
        positive: (n,) whether the row is of it.
        name: of the class.
    """
    found = equal_size(probability, positive, 10)
    ends = np.array([wilson(share * rows, int(rows)) for share, rows in zip(found.happened, found.rows, strict=True)])
    below, above = np.maximum(found.happened - ends[:, 0], 0), np.maximum(ends[:, 1] - found.happened, 0)
    most = min(1.0, 1.08 * max(found.predicted.max(), ends.max()))
    axes.plot([0, most], [0, most], color="#999999", linewidth=1, linestyle="--", zorder=1)
    axes.errorbar(
        found.predicted, found.happened, yerr=[below, above], fmt="o", color="#0072B2", markersize=5, linewidth=1.2,
        capsize=2, zorder=2,
    )  # fmt: skip
    axes.set_xlim(0, most)
    axes.set_ylim(0, most)
    axes.set_aspect("equal")
    axes.set_xlabel(f"predicted probability of {name!r}")
    axes.set_ylabel("share that happened")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return found


def _of_classes(outcome: Any, outputs: Tensor, label: Tensor) -> dict[str, tuple[float, float]]:
    predicted = outcome.probabilities(outputs).mean(dim=0)
    of_all = {
        name: (float(predicted[code]), float((label == code).double().mean()))
        for code, name in enumerate(outcome.names)
    }
    # Of two classes the second says all.
    return dict(list(of_all.items())[-1:]) if outcome.width == 2 else of_all


def _of_numbers(outcome: Any, outputs: Tensor, label: Tensor) -> dict[str, tuple[float, float]]:
    return {"": (float(outcome.values(outputs).mean()), float(label.double().mean()))}


def _judge_classes(outcome: Any, outputs: Tensor, label: Tensor, **options: Any) -> Calibration | None:
    return calibration_of(outputs, label, names=outcome.names, **options)


def _judge_numbers(outcome: Any, outputs: Tensor, label: Tensor, **options: Any) -> Calibration | None:
    return None


#: By kind of outcome.
_MEANS: dict[str, Callable[..., dict[str, tuple[float, float]]]] = {"class": _of_classes, "regression": _of_numbers}
_JUDGES: dict[str, Callable[..., Calibration | None]] = {"class": _judge_classes, "regression": _judge_numbers}


def means(outcome: Outcome, outputs: Tensor, label: Tensor) -> dict[str, tuple[float, float]]:
    """Return class -> (mean predicted probability, share of rows); of numbers "" -> (mean prediction, mean label)."""
    return _MEANS[outcome.kind](outcome, outputs, label)


def judged(
    outcome: Outcome, outputs: Tensor, label: Tensor, *, row: Sequence[int] | None = None, seed: int = 0
) -> Calibration | None:
    """Return `calibration_of` an outcome's outputs (n, width); None for numbers, which have no probabilities."""
    return _JUDGES[outcome.kind](outcome, outputs, label, row=row, seed=seed)
