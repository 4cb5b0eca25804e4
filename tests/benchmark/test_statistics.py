"""Intervals of differences: by hand, in their limits, and how often they hold a known truth."""

import math

import numpy as np
import pytest
import scipy.stats

from tl_research.metrics.left_out import Noise, noise_of
from tl_research.report.statistics import (
    BOUND,
    PAIRED,
    RESAMPLED,
    SEEDS,
    Evidence,
    paired_difference,
    resampled_interval,
    t_reach,
    variance_over,
)

T4 = scipy.stats.t.ppf(0.975, 4)


def against_zero(values, **options):
    """The difference of rows, task -> values by seed, to a row of zeros."""
    row = {task: dict(enumerate(scores)) for task, scores in values.items()}
    return paired_difference(row, {task: dict.fromkeys(scores, 0.0) for task, scores in row.items()}, **options)


def evidence_of(values, *, error=None, share=None, without=None):
    """The test rows behind `values`, alike for all: of the row, and of a baseline that is never wrong."""
    ours = {
        task: {seed: Evidence(share, error, without) for seed in range(len(scores))} for task, scores in values.items()
    }
    none = None if error is None else 0.0
    flat = None if without is None else (0.0,) * len(without)
    theirs = {task: {seed: Evidence(share, none, flat) for seed in scores} for task, scores in ours.items()}
    return {"evidence": ours, "baseline_evidence": theirs}


def ends(difference):
    return difference.low, difference.high


def test_pairs_are_those_of_task_and_seed():
    row = {"a": {0: 0.9, 1: 0.7, 5: 0.0}, "b": {0: 0.5}, "c": {0: 1.0}}
    baseline = {"a": {1: 0.6, 0: 0.5, 7: 1.0}, "b": {0: 0.7}, "d": {0: 0.0}}
    difference = paired_difference(row, baseline)
    # a: (0.4 + 0.1) / 2, b: -0.2; tasks count alike, whatever their number of seeds.
    assert difference.mean == pytest.approx((0.25 - 0.2) / 2)
    assert (difference.pairs, difference.tasks) == (3, 2)
    assert difference.low is None  # b has one seed
    assert difference.kind == ""
    assert paired_difference({"c": row["c"]}, baseline) is None


def test_pairing_removes_what_the_seeds_have_in_common():
    hard = np.random.default_rng(4).normal(0, 10, size=5)
    row = {"a": dict(enumerate(hard + 0.1))}
    assert paired_difference(row, {"a": dict(enumerate(hard))}).verdict(True) == "helps"


@pytest.mark.parametrize(
    ("values", "higher", "lower"),
    [([0.1, 0.11], "helps", "hurts"), ([-0.1, -0.11], "hurts", "helps"), ([-0.1, 0.2], "", ""), ([0.0, 0.0], "", ""),
     ([0.1, 0.2], "", ""), ([0.1], "", "")],
)  # fmt: skip
def test_the_verdict_needs_the_whole_interval_on_one_side(values, higher, lower):
    difference = against_zero({"a": values})
    assert difference.verdict(True) == higher
    assert difference.verdict(False) == lower


def test_over_seeds_alone_it_is_scipy_s_t():
    values = np.random.default_rng(1).normal(0.3, 2.0, size=9)
    found = against_zero({"a": values})
    assert found.kind == SEEDS
    theirs = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose(ends(found), (theirs.low, theirs.high), rtol=1e-12)


def test_two_tasks_of_equal_rows_are_welch_s_t():
    """The mean over two tasks a and b is half the difference of a and -b, for which scipy has Welch's interval."""
    random = np.random.default_rng(2)
    a, b = random.normal(1, 1, 5), random.normal(0, 4, 8)
    theirs = scipy.stats.ttest_ind(a, -b, equal_var=False).confidence_interval(0.95)
    np.testing.assert_allclose(ends(against_zero({"a": a, "b": b})), (theirs.low / 2, theirs.high / 2), rtol=1e-12)


def test_tasks_of_one_target_are_one_sample():
    """Three tasks whose test rows are the same have the interval of one of them, not one that is √3 narrower."""
    values = np.random.default_rng(3).normal(size=5)
    one = against_zero({"a": values})
    same = {task: values for task in "abc"}
    assert ends(against_zero(same, targets=dict.fromkeys("abc", "t"))) == pytest.approx(ends(one))
    apart = against_zero(same)
    assert apart.high - apart.low < 0.6 * (one.high - one.low)


def test_where_seeds_draw_the_test_rows_it_is_the_corrected_resampled_t():
    values = {"a": np.random.default_rng(5).normal(size=5)}
    found = against_zero(values, **evidence_of(values, share=0.25))
    assert found.kind == RESAMPLED
    np.testing.assert_allclose(ends(found), resampled_interval(values["a"], test_share=0.25), rtol=1e-12)


def test_where_all_seeds_test_on_the_same_rows_their_error_is_added():
    values = {"a": np.array([0.1, 0.2, 0.3, 0.2, 0.1])}
    found = against_zero(values, **evidence_of(values, share=1.0, error=0.05))
    seeds = np.var(values["a"], ddof=1) / 5
    freedom = (seeds + 0.05**2) ** 2 / (seeds**2 / 4)
    reach = scipy.stats.t.ppf(0.975, freedom) * math.sqrt(seeds + 0.05**2)
    assert found.kind == BOUND
    np.testing.assert_allclose(ends(found), (found.mean - reach, found.mean + reach), rtol=1e-12)
    # Two rows that err independently: their errors add up.
    both = evidence_of(values, share=1.0, error=0.03)
    both["baseline_evidence"] = {"a": dict.fromkeys(range(5), Evidence(1.0, 0.04))}
    assert ends(against_zero(values, **both)) == pytest.approx(ends(found))


def test_of_two_intervals_that_are_wide_enough_the_narrower_is_taken():
    values = {"a": np.array([-1.0, 1.0, -2.0, 2.0, 0.0])}
    assert against_zero(values, **evidence_of(values, share=0.25, error=0.01)).kind == BOUND
    assert against_zero(values, **evidence_of(values, share=0.25, error=9.0)).kind == RESAMPLED


def test_seeds_that_agree_on_few_test_rows_are_not_sure():
    """No variance over seeds makes the resampled t an interval of no length."""
    values = {"a": np.zeros(5)}
    found = against_zero(values, **evidence_of(values, share=0.25, error=0.02))
    assert found.kind == BOUND
    assert found.high == pytest.approx(1.96 * 0.02 * 0.25**0.5, rel=1e-3)


def test_without_the_parts_of_the_test_rows_it_is_the_paired_noise():
    values = {"a": np.array([0.1, 0.2, 0.3, 0.2, 0.1])}
    without = tuple(0.2 + 0.001 * np.random.default_rng(6).normal(size=40))
    found = against_zero(values, **evidence_of(values, share=1.0, error=0.05, without=without))
    noise = noise_of([without] * 5)
    assert found.kind == PAIRED
    assert found.high - found.mean == pytest.approx(t_reach([variance_over(values["a"], noise)]))
    assert found.high - found.low < ends(against_zero(values, **evidence_of(values, share=1.0, error=0.05)))[1]


def test_the_variance_over_resamples_in_its_limits():
    values, s2 = [0.0, 1.0, 2.0, 5.0], np.var([0.0, 1.0, 2.0, 5.0], ddof=1)
    # No noise of test rows: Student's.
    assert variance_over(values, Noise(0.0, 0.0, math.inf)) == pytest.approx((s2 / 4, 3))
    # Everything is noise of test rows, independent between resamples: V is that of the mean, training adds nothing.
    variance, freedom = variance_over(values, Noise(s2 / 4, s2, math.inf))
    assert variance == pytest.approx(s2 / 4)
    assert freedom == pytest.approx(3)
    # The same test rows and models that err alike: all of v stays, and s² is training.
    assert variance_over(values, Noise(2.0, 2.0, math.inf))[0] == pytest.approx(2 + s2 / 4)
    assert variance_over(values, Noise(0.0, 0.0, math.inf), shared=0.5) == pytest.approx((0.75 * s2, 3))
    # Nothing is left for training: as unsure as s² / J where nothing is added for shared rows, else by its rows alone.
    assert variance_over(values, Noise(2.0, 2.0 + s2, 9.0))[1] < 9
    assert variance_over(values, Noise(2.0, 2.0 + s2, 9.0), shared=0.5)[1] == pytest.approx(9)


def test_t_reach_is_welch_satterthwaite_and_ends_at_the_normal():
    assert t_reach([(4.0, 4.0)]) == pytest.approx(2 * T4)
    assert t_reach([(4.0, math.inf)]) == pytest.approx(2 * 1.959964, abs=1e-5)
    assert t_reach([(0.0, 3.0)]) == 0.0
    assert t_reach([(2.0, 4.0), (2.0, 4.0)]) == pytest.approx(2 * scipy.stats.t.ppf(0.975, 8))


@pytest.mark.parametrize(("tasks", "seeds"), [(1, 3), (1, 5), (1, 10), (12, 3), (12, 5)])
def test_coverage_of_seeds_that_are_independent(tasks, seeds):
    random, hits, draws = np.random.default_rng(5), 0, 1500
    for _ in range(draws):
        spread = random.uniform(0.5, 2, size=tasks)
        found = against_zero({str(task): random.normal(0.3, spread[task], seeds) for task in range(tasks)})
        hits += found.low <= 0.3 <= found.high
    assert 0.93 <= hits / draws <= 0.97


@pytest.mark.parametrize("splits", [3, 5, 10])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_resampled_interval_covers_the_truth_for_new_rows(splits, noise):
    """Splits of 400 rows, a quarter evidence on: the rows' gains are drawn, and training adds noise per split."""
    random, hits, draws = np.random.default_rng(0), 0, 2000
    for _ in range(draws):
        gains = random.normal(0.3, 1.0, 400)
        values = [random.permutation(gains)[:100].mean() + noise * random.normal() for _ in range(splits)]
        low, high = resampled_interval(values, test_share=0.25)
        hits += low <= 0.3 <= high
    # Exact for the shared rows alone; the noise of training, which is independent, makes it a little too wide.
    assert 0.94 <= hits / draws <= (0.965 if noise == 0 else 0.99)


def test_the_resampled_interval_by_hand():
    low, high = resampled_interval([0.0, 2.0], test_share=0.5)
    # s² = 2, 1/2 + 1 = 3/2, t_1 = 12.706
    assert (low, high) == (pytest.approx(1 - 12.7062 * 3**0.5, abs=1e-3), pytest.approx(1 + 12.7062 * 3**0.5, abs=1e-3))
