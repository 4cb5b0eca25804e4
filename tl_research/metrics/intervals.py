"""How sure a figure of n test rows is: 95 % intervals of the metrics that runs are judged by."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import norm, t

LEVEL = 0.95


def wilson(hits: float, rows: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Score interval of a share: all p with |hits / n - p| <= z sqrt(p (1 - p) / n).

    Args:
        hits: number of rows that count.
        rows: n, at least 1.
        level: nominal coverage.

    Returns:
        The ends, within 0 and 1.

    Reference:
        Wilson 1927, JASA 22(158).
    """
    z = norm.ppf((1 + level) / 2)
    share, square = hits / rows, z * z / rows
    centre = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / rows + square / (4 * rows)) / (1 + square)
    return max(0.0, centre - half), min(1.0, centre + half)


def auroc_interval(auroc: float, positives: int, negatives: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Score interval of an AUROC: all θ with |AUROC - θ| <= z sqrt(V(θ)).

    V(θ) = θ (1 - θ) / (m n) [1 + N (1 - θ) / (2 - θ) + N θ / (1 + θ)] with N = (m + n) / 2 - 1: the variance of
    Hanley and McNeil at the hypothetical value, so that an AUROC of 1 has an interval too, and with the mean size of
    the classes in the place of each.

    Args:
        auroc: the measured value.
        positives, negatives: rows of each class, at least 1.
        level: nominal coverage.

    Returns:
        The ends, within 0 and 1.

    Reference:
        Newcombe 2006, Statistics in Medicine 25(4), 559-573, method 5; Hanley and McNeil 1982, Radiology 143(1).
    """
    z, pairs, others = norm.ppf((1 + level) / 2), positives * negatives, (positives + negatives) / 2 - 1

    def excess(theta: float) -> float:
        spread = theta * (1 - theta) * (1 + others * (1 - theta) / (2 - theta) + others * theta / (1 + theta)) / pairs
        return abs(auroc - theta) - z * math.sqrt(max(spread, 0.0))

    return _edge(excess, auroc, 0.0), _edge(excess, auroc, 1.0)


def _edge(excess: Callable[[float], float], inside: float, outside: float) -> float:
    """Bisect between a value within the interval and the end of the range."""
    if excess(outside) <= 0:
        return outside
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if excess(middle) <= 0 else (inside, middle)
    return (inside + outside) / 2


def r2_interval(error: np.ndarray, label: np.ndarray, *, level: float = LEVEL) -> tuple[float, float] | None:
    """Interval of R² = 1 - Σ e² / Σ (y - mean y)², by the delta method for ln (1 - R²).

    se = sd(e² / mean e² - (y - mean y)² / var y) / sqrt(n), with the t quantile of n - 1 degrees of freedom.

    Args:
        error, label: (n,) y - prediction, and y.
        level: nominal coverage.

    Returns:
        The ends; None with fewer than three rows, without an error or with equal labels.
    """
    spread = (label - label.mean()) ** 2
    squares = error**2
    if len(label) < 3 or not squares.mean() > 0 or not spread.mean() > 0:
        return None
    ratio = squares.mean() / spread.mean()
    deviation = np.std(squares / squares.mean() - spread / spread.mean(), ddof=1) / math.sqrt(len(label))
    half = t.ppf((1 + level) / 2, len(label) - 1) * deviation
    return float(1 - ratio * math.exp(half)), float(1 - ratio * math.exp(-half))


def mean_interval(values: np.ndarray, *, level: float = LEVEL) -> tuple[float, float] | None:
    """Student's interval of a mean, for metrics that are one (log loss, MAE); None with fewer than two rows."""
    if len(values) < 2:
        return None
    half = t.ppf((1 + level) / 2, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def mean_of_means_interval(
    unit: np.ndarray, group: np.ndarray, values: np.ndarray, *, level: float = LEVEL
) -> tuple[float, float] | None:
    """Student's interval of the mean over groups of the groups' means, where a unit may have values in several groups.

    With D groups of n_d values, unit u's influence is I_u = Σ_d Σ_{k of u in d} (x_k - mean_d) / (D n_d), and the
    variance is N / (N - 1) Σ_u I_u² for N units. In one group of one value per unit it is `mean_interval`.

    Args:
        unit: (n,) whose value each is; units are independent.
        group: (n,) of each value.
        values: (n,).
        level: nominal coverage.

    Returns:
        The ends; None with fewer than two units.
    """
    units, of_unit = np.unique(unit, return_inverse=True)
    groups, of_group, sizes = np.unique(group, return_inverse=True, return_counts=True)
    if len(units) < 2:
        return None
    means = np.bincount(of_group, values) / sizes
    share = (values - means[of_group]) / (len(groups) * sizes[of_group])
    variance = len(units) / (len(units) - 1) * np.square(np.bincount(of_unit, share)).sum()
    half = t.ppf((1 + level) / 2, len(units) - 1) * math.sqrt(variance)
    return float(means.mean() - half), float(means.mean() + half)


def class_interval(metric: str, value: float, counts: Sequence[int]) -> tuple[float, float] | None:
    """Interval of a metric of classes, from its value and the rows of each class alone.

    Args:
        metric: `accuracy` (Wilson) or `auroc` (Newcombe; of more than two classes the mean of the classes' intervals at
            this value, which is wide). Others have none here.
        value: the measured value.
        counts: test rows of each class.
    """
    rows = int(sum(counts))
    if metric == "accuracy":
        return wilson(value * rows, rows)
    if metric == "auroc":
        present = [int(size) for size in counts if 0 < size < rows]
        of_one = present[-1:] if len(counts) == 2 else present
        ends = [auroc_interval(value, size, rows - size) for size in of_one]
        return tuple(float(np.mean(side)) for side in zip(*ends)) if ends else None
    return None


def number_interval(metric: str, prediction: np.ndarray, label: np.ndarray) -> tuple[float, float] | None:
    """Interval of a metric of numbers: `r2`, `mae`, or `rmse` (root of the mean square's interval)."""
    error = label - prediction
    if metric == "r2":
        return r2_interval(error, label)
    if metric == "mae":
        return mean_interval(np.abs(error))
    if metric == "rmse":
        ends = mean_interval(error**2)
        return None if ends is None else (math.sqrt(max(ends[0], 0.0)), math.sqrt(ends[1]))
    return None
