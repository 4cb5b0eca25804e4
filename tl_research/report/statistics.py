"""Is a row better or worse than the baseline? Paired differences and their bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student_t

RESAMPLES = 10_000
LEVEL = 0.95

#: seed -> value of the metric, of one row on one task.
SeedScores = Mapping[int, float]


@dataclass(frozen=True)
class Difference:
    """Mean paired difference, row minus baseline, in the metric's own unit.

    Fields:
        mean: mean over tasks of the mean over pairs.
        low, high: ends of the interval; None where a task has fewer than two pairs, so that nothing is known of
            the spread over seeds.
        pairs: number of (task, seed) pairs.
        tasks: number of tasks with a pair.
    """

    mean: float
    low: float | None
    high: float | None
    pairs: int
    tasks: int

    def verdict(self, higher_is_better: bool) -> str:
        """Return `helps` or `hurts` where the whole interval lies on that side of 0, else an empty string."""
        if self.low is None or self.high is None:
            return ""
        if self.low > 0:
            return "helps" if higher_is_better else "hurts"
        if self.high < 0:
            return "hurts" if higher_is_better else "helps"
        return ""


def paired_difference(row: Mapping[str, SeedScores], baseline: Mapping[str, SeedScores]) -> Difference | None:
    """Return the difference of a row to the baseline over the tasks and seeds that both have.

    d = 1/T sum_t 1/n_t sum_s (row[t][s] - baseline[t][s]), with a percentile bootstrap interval that resamples
    seeds within each task.

    Args:
        row, baseline: task -> seed -> value.

    Returns:
        The difference, or None where no task has a common seed.
    """
    strata = []
    for task, scores in row.items():
        other = baseline.get(task, {})
        common = sorted(scores.keys() & other.keys())
        if common:
            strata.append([scores[seed] - other[seed] for seed in common])
    if not strata:
        return None
    low, high = bootstrap_interval(strata) if min(map(len, strata)) > 1 else (None, None)
    mean = float(np.mean([np.mean(values) for values in strata]))
    return Difference(mean, low, high, sum(map(len, strata)), len(strata))


def bootstrap_interval(
    strata: Sequence[Sequence[float]], *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over strata of the mean within a stratum.

    Values are resampled within their stratum. A percentile interval of few values is too narrow: a resample's
    variance is that of the mean times (n-1)/n. Of normal data with five seeds, the nominal 95 % cover the truth
    in about 83 % of the cases for one task and 91 % for the mean over twelve (see the test).

    Args:
        strata: one sequence of values per task.
        level: nominal coverage.
        resamples: number of resamples.
        seed: of the resampling.

    Returns:
        The ends of the interval.

    Reference:
        Efron and Tibshirani 1993, An Introduction to the Bootstrap, sections 8.3 and 13.3.
    """
    generator = np.random.default_rng(seed)
    means = np.zeros(resamples)
    for values in strata:
        values = np.asarray(values, dtype=np.float64)
        means += values[generator.integers(len(values), size=(resamples, len(values)))].mean(axis=1)
    low, high = np.quantile(means / len(strata), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resampled_interval(values: Sequence[float], *, test_share: float, level: float = LEVEL) -> tuple[float, float]:
    """Corrected resampled t interval of a mean over random splits of the same rows.

    mean ± t_{J-1} · sqrt((1/J + test_share / (1 - test_share)) · s²), with s² the variance over the J splits. Values of
    different splits are not independent, because they share test rows: without the second term the interval says how
    far the mean over more splits of these rows can be, not how far the truth for new rows can be.

    Args:
        values: one value per split, two or more.
        test_share: share of the rows that a split tests on, between 0 and 1.
        level: nominal coverage.

    Returns:
        The ends of the interval.

    Reference:
        Nadeau & Bengio 2003, Machine Learning 52(3), section 3.
    """
    count = len(values)
    variance = float(np.var(values, ddof=1))
    reach = student_t.ppf((1 + level) / 2, count - 1) * np.sqrt((1 / count + test_share / (1 - test_share)) * variance)
    mean = float(np.mean(values))
    return mean - float(reach), mean + float(reach)
