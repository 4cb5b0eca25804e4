"""Is a row better or worse than another? Paired differences and their intervals, over seeds and test rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student_t

from tl_research.metrics.left_out import Noise, noise_of

LEVEL = 0.95

#: seed -> value of the metric, of one row on one task.
SeedScores = Mapping[int, float]


class Evidence(NamedTuple):
    """The test rows behind a value.

    Fields:
        share: of the labelled rows, drawn anew by each seed to test on; 1 where all seeds test on the same rows; None
            where it is not known.
        error: standard error of the value by the choice of test rows; None where it is not known.
        without: the value without each part of the target's rows (`metrics.left_out`), None where it has none; None
            where the record does not have it. A row of the target is of the same part in all runs.
    """

    share: float | None = None
    error: float | None = None
    without: tuple[float | None, ...] | None = None


#: How the noise of test rows came into an interval.
PAIRED, BOUND, RESAMPLED, SEEDS = "paired", "bound", "resampled", "seeds"


@dataclass(frozen=True)
class Difference:
    """Mean paired difference, row minus baseline, in the metric's own unit.

    Fields:
        mean: mean over tasks of the mean over pairs.
        low, high: ends of the interval; None where fewer than two seeds have a pair, so that nothing is known of the
            spread over seeds.
        pairs: number of (task, seed) pairs.
        tasks: number of tasks with a pair.
        kind: `paired`, `bound`, `resampled` or `seeds`, see `paired_difference`; empty without an interval.
    """

    mean: float
    low: float | None
    high: float | None
    pairs: int
    tasks: int
    kind: str = ""

    def verdict(self, higher_is_better: bool) -> str:
        """Return `helps` or `hurts` where the whole interval lies on that side of 0, else an empty string."""
        if self.low is None or self.high is None:
            return ""
        if self.low > 0:
            return "helps" if higher_is_better else "hurts"
        if self.high < 0:
            return "hurts" if higher_is_better else "helps"
        return ""


@dataclass(frozen=True)
class Stratum:
    """Tasks with the same target, which share test rows and shown labels, as one mean per seed.

    Fields:
        weight: of the stratum's mean in the mean over tasks.
        values: (J,) mean difference of each seed.
        share: of the rows that tests are drawn from, see `Evidence`.
        noise: that of the differences by their test rows.
        bound: variance of one seed's difference by its test rows, at most.
    """

    weight: float
    values: np.ndarray
    share: float | None
    noise: Noise | None
    bound: float | None


def paired_difference(
    row: Mapping[str, SeedScores],
    baseline: Mapping[str, SeedScores],
    *,
    evidence: Mapping[str, Mapping[int, Evidence]] | None = None,
    baseline_evidence: Mapping[str, Mapping[int, Evidence]] | None = None,
    targets: Mapping[str, str] | None = None,
) -> Difference | None:
    """Return the difference of a row to the baseline over the tasks and seeds that both have.

    d = 1/T Σ_t 1/n_t Σ_s (row[t][s] - baseline[t][s]). Tasks of one target, whose test rows and shown labels are the
    same, are first averaged per seed. Let such a stratum have weight w, J seeds and variance s² over seeds, and let ρ
    be the share of rows that a seed tests on (1: all seeds test on the same rows). Its mean has the variance

    paired: `variance_over` of the seeds' differences and of the noise of their test rows, from a jackknife;
    bound: s² / J + ρ v, with v at most (mean over tasks of sqrt(e² + e'²))², e and e' the two rows' standard errors;
    resampled: s² (1 / J + ρ / (1 - ρ)), where all of s² is taken for test rows (ρ < 1 only);
    seeds: s² / J, where nothing is known of the test rows.

    Paired is taken where all records have what it needs; else the narrower of bound and resampled, either of which is
    wide enough. Variances are added with weights w², and t has Welch and Satterthwaite's degrees of freedom.

    Args:
        row, baseline: task -> seed -> value.
        evidence, baseline_evidence: task -> seed -> the test rows behind it.
        targets: task -> its target; a task that is missing is a target of its own.

    Returns:
        The difference, or None where no task has a common seed.

    Reference:
        Nadeau and Bengio 2003, Machine Learning 52(3), section 3 (resampled); Satterthwaite 1946, Biometrics
        Bulletin 2(6).
    """
    common = {task: sorted(scores.keys() & baseline.get(task, {}).keys()) for task, scores in row.items()}
    common = {task: seeds for task, seeds in common.items() if seeds}
    if not common:
        return None
    pairs = {task: {seed: row[task][seed] - baseline[task][seed] for seed in seeds} for task, seeds in common.items()}
    mean = float(np.mean([np.mean(list(values.values())) for values in pairs.values()]))
    groups: dict[str, list[str]] = {}
    for task in pairs:
        groups.setdefault((targets or {}).get(task, task), []).append(task)
    strata = [_stratum(tasks, pairs, evidence or {}, baseline_evidence or {}) for tasks in groups.values()]
    count = sum(map(len, pairs.values())), len(pairs)
    if any(len(stratum.values) < 2 for stratum in strata):
        return Difference(mean, None, None, *count)
    reach, kind = _reach(strata)
    return Difference(mean, mean - reach, mean + reach, *count, kind)


def _stratum(
    tasks: Sequence[str],
    pairs: Mapping[str, Mapping[int, float]],
    evidence: Mapping[str, Mapping[int, Evidence]],
    other: Mapping[str, Mapping[int, Evidence]],
) -> Stratum:
    seeds = sorted(set.intersection(*(set(pairs[task]) for task in tasks)))
    values = np.array([np.mean([pairs[task][seed] for task in tasks]) for seed in seeds])
    both = [
        [
            (evidence.get(task, {}).get(seed) or Evidence(), other.get(task, {}).get(seed) or Evidence())
            for task in tasks
        ]
        for seed in seeds
    ]
    sides = [side for each in both for pair in each for side in pair]
    shares = [side.share for side in sides]
    share = None if not shares or None in shares else float(max(shares))
    bound = None
    if sides and all(side.error is not None for side in sides):
        bound = float(np.mean([np.mean([math.hypot(a.error, b.error) for a, b in each]) for each in both])) ** 2
    noise = None
    if sides and all(side.without is not None for side in sides):
        noise = noise_of([np.mean([_minus(a.without, b.without) for a, b in each], axis=0) for each in both])
    return Stratum(len(tasks) / len(pairs), values, share, noise, bound)


def _minus(ours: Sequence[float | None], theirs: Sequence[float | None]) -> np.ndarray:
    return np.array(ours, dtype=np.float64) - np.array(theirs, dtype=np.float64)


def _reach(strata: Sequence[Stratum]) -> tuple[float, str]:
    """Return half of the interval's length, and the kind."""
    if all(each.noise is not None for each in strata):
        parts = [(each.weight**2, *variance_over(each.values, each.noise)) for each in strata]
        return t_reach((square * variance, freedom) for square, variance, freedom in parts), PAIRED
    seeds = [(each.weight**2 * _variance(each.values) / len(each.values), len(each.values) - 1.0) for each in strata]
    known, options = all(each.share is not None for each in strata), []
    if known and all(each.bound is not None for each in strata):
        rows = [(each.weight**2 * each.share * each.bound, math.inf) for each in strata]
        options.append((t_reach([*seeds, *rows]), BOUND))
    if known and all(each.share < 1 for each in strata):
        grown = [
            (variance * (1 + len(each.values) * each.share / (1 - each.share)), freedom)
            for each, (variance, freedom) in zip(strata, seeds, strict=True)
        ]
        options.append((t_reach(grown), RESAMPLED))
    # Rows that err alike on every seed's few test rows have no variance over seeds: that is not to be sure.
    return min([option for option in options if option[0] > 0] or options or [(t_reach(seeds), SEEDS)])


def variance_over(values: Sequence[float], noise: Noise, *, shared: float = 0.0) -> tuple[float, float]:
    """Return the variance of a mean over J resamples (or seeds), and its degrees of freedom.

    V = V_rows + max(0, s² - J / (J - 1) (v - V_rows)) (1 / J + shared)

    V_rows is the noise of the test rows in the mean, v that in one resample: rows that several resamples test move them
    together as far as their models err on the same rows. What the variance s² between resamples has beyond
    v - V_rows is made by training.

    Args:
        values: one per resample, two or more.
        noise: of the test rows, from the same resamples.
        shared: what is to be added to 1 / J because resamples share training rows, 0 to one half.
    """
    count, between = len(values), _variance(values)
    training = max(0.0, between - count / (count - 1) * (noise.one - noise.mean)) * (1 / count + shared)
    variance = noise.mean + training
    # What training makes is a difference of variances: it is as unsure as s² / J, also where it comes out as 0. What is
    # added for shared rows makes up for that, all of it where it is one half.
    least = max(training, between / count * max(0.0, 1 - 2 * shared))
    unsure = noise.mean**2 / noise.freedom + least**2 / (count - 1)
    return variance, variance**2 / unsure if unsure > 0 else math.inf


def _variance(values: Sequence[float]) -> float:
    return float(np.var(values, ddof=1))


def t_reach(parts: Iterable[tuple[float, float]], *, level: float = LEVEL) -> float:
    """Return t_f · V^½ for V = Σ v_i, with f = V² / Σ (v_i² / f_i).

    Args:
        parts: variances v_i and their degrees of freedom f_i (infinite: known).
        level: nominal coverage.

    Reference:
        Satterthwaite 1946, Biometrics Bulletin 2(6).
    """
    parts = list(parts)
    variance = sum(each for each, _ in parts)
    if not variance > 0:
        return 0.0
    unsure = sum(each**2 / freedom for each, freedom in parts)
    freedom = variance**2 / unsure if unsure > 0 else math.inf
    return float(student_t.ppf((1 + level) / 2, freedom)) * math.sqrt(variance)


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
    count, mean = len(values), float(np.mean(values))
    variance = _variance(values) * (1 / count + test_share / (1 - test_share))
    reach = t_reach([(variance, count - 1.0)], level=level)
    return mean - reach, mean + reach
