"""How much a figure owes to the choice of its test rows: a jackknife that leaves out parts of them, for any metric."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

#: Parts that rows are dealt into; a figure is made again without each.
PARTS = 40


class Noise(NamedTuple):
    """What the choice of test rows alone does to a figure.

    Fields:
        mean: variance of the mean over the resamples.
        one: variance of a single resample's figure, mean over the resamples.
        freedom: degrees of freedom of `mean`.
    """

    mean: float
    one: float
    freedom: float


def parts_of(groups: np.ndarray, *, seed: int, parts: int = PARTS) -> np.ndarray:
    """Deal groups of rows at random into at most `parts` parts of nearly equal numbers of groups.

    Args:
        groups: (n,) integers; rows of one group stay together.
        seed: of the draw.
        parts: number of parts.

    Returns:
        (n,) part of each row.
    """
    names, of_row = np.unique(groups, return_inverse=True)
    dealt = np.arange(len(names)) % min(parts, len(names))
    return np.random.default_rng(seed).permutation(dealt)[of_row]


def left_out(figure: Callable[[np.ndarray], float | None], part: np.ndarray, *, parts: int = PARTS) -> list[float]:
    """Return a figure without each part of its rows.

    Args:
        figure: places of rows -> the figure on these; None where it has no value there.
        part: (m,) part of each row, from `parts_of`.
        parts: number of parts.

    Returns:
        `parts` values; nan where no row is of the part, where all are, or where the figure has no value.
    """
    values = [math.nan] * parts
    for number in np.unique(part):
        kept = np.flatnonzero(part != number)
        value = figure(kept) if len(kept) else None
        values[int(number)] = math.nan if value is None else float(value)
    return values


def auroc_left_out(score: np.ndarray, positive: np.ndarray, part: np.ndarray, *, parts: int = PARTS) -> list[float]:
    """Return what `left_out` returns of the AUROC, from two sorts instead of one per part.

    U without part g is U - (pairs of its positives) - (pairs of its negatives) + (pairs within it); a pair counts 1
    with the positive above, ½ with a tie.

    Args:
        score: (m,) higher is more likely positive.
        positive: (m,) bool.
        part: (m,) part of each row.
        parts: number of parts.
    """
    pairs = _pairs(score, positive)
    own, other = (np.bincount(part, np.where(side, pairs, 0.0), parts) for side in (positive, ~positive))
    plus, minus = (np.bincount(part, side, parts) for side in (positive, ~positive))
    within = np.zeros(parts)
    for number in np.flatnonzero(plus * minus):
        rows = part == number
        within[number] = _pairs(score[rows], positive[rows])[positive[rows]].sum()
    count = (plus.sum() - plus) * (minus.sum() - minus)
    values = np.full(parts, math.nan)
    left = pairs[positive].sum() - own - other + within
    np.divide(left, count, out=values, where=(count > 0) & (plus + minus > 0))
    return values.tolist()


def _pairs(score: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """(m,) of a positive: the negatives below it; of a negative: the positives above it; those tied count half."""
    found = np.empty(len(score))
    for side, others, sign in ((positive, ~positive, 1), (~positive, positive, -1)):
        known, asked = np.sort(sign * score[others]), sign * score[side]
        found[side] = (np.searchsorted(known, asked, "left") + np.searchsorted(known, asked, "right")) / 2
    return found


def noise_of(without: Any) -> Noise:
    """Return the noise of test rows, from figures (or their differences) without each part.

    With d_jg the figure of resample j without part g, of the G_j parts that it tests, and the influence
    I_jg = sqrt((G_j - 1) / G_j) (mean_g d_jg - d_jg), 0 for other parts:

    `mean` is Σ_g c_g² with c_g = mean_j I_jg, which counts that a row is tested in several resamples;
    `one` is mean_j Σ_g I_jg², the jackknife variance;
    `freedom` is 2 V² / (Σ_g c_g⁴ - V² / G) with V = Σ_g c_g²: few where few rows decide.

    Args:
        without: (J, G), nan where there is none.

    Reference:
        Efron and Stein 1981, Annals of Statistics 9(3); Satterthwaite 1946, Biometrics Bulletin 2(6).
    """
    values = np.asarray(without, dtype=np.float64)
    seen = np.isfinite(values)
    count = np.maximum(seen.sum(axis=1, keepdims=True), 1)
    values = np.where(seen, values, 0.0)
    mean = values.sum(axis=1, keepdims=True) / count
    influence = np.where(seen, np.sqrt((count - 1) / count) * (mean - values), 0.0)
    each = influence.mean(axis=0)
    variance = float((each**2).sum())
    used = max(1, int(seen.any(axis=0).sum()))
    spread = float((each**4).sum()) - variance**2 / used
    freedom = 2 * variance**2 / spread if spread > 1e-12 * variance**2 else math.inf
    return Noise(variance, float((influence**2).sum(axis=1).mean()), freedom)
