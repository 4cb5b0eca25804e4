import numpy as np
import pytest
import scipy.stats

from tl_research.report.statistics import bootstrap_interval, paired_difference, resampled_interval


def test_it_agrees_with_scipy_s_percentile_bootstrap():
    values = np.random.default_rng(1).normal(0.3, 2.0, size=9)
    ours = bootstrap_interval([values], resamples=200_000)
    theirs = scipy.stats.bootstrap((values,), np.mean, method="percentile", n_resamples=200_000).confidence_interval
    np.testing.assert_allclose(ours, theirs, atol=0.02)


def test_stratified_it_agrees_with_scipy_s_independent_resampling_of_several_samples():
    generator = np.random.default_rng(2)
    strata = [generator.normal(mean, spread, size=n) for mean, spread, n in ((0, 1, 4), (3, 0.2, 7), (-1, 2, 5))]

    def mean_of_means(*samples, axis):
        return sum(sample.mean(axis=axis) for sample in samples) / len(samples)

    theirs = scipy.stats.bootstrap(tuple(strata), mean_of_means, method="percentile", n_resamples=100_000)
    np.testing.assert_allclose(bootstrap_interval(strata, resamples=100_000), theirs.confidence_interval, atol=0.02)


def test_of_many_values_it_is_the_normal_interval():
    values = np.random.default_rng(3).exponential(size=4000)
    half = 1.959964 * values.std() / np.sqrt(len(values))
    low, high = bootstrap_interval([values])
    assert low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.05 * half)


def test_every_resample_of_three_values_enumerated():
    values = np.array([0.0, 1.0, 5.0])
    means = np.sort([(a + b + c) / 3 for a in values for b in values for c in values])
    # P(mean = 0) = P(mean = 5) = 1/27 > 0.025, so the ends of the 95 % interval are the extremes themselves.
    assert (means[0], means[-1]) == (0, 5)
    assert bootstrap_interval([values]) == (0, 5)
    # At 80 % the tenth part lies beyond P = 1/27 and at P(mean <= 1/3) = 4/27.
    assert bootstrap_interval([values], level=0.8) == pytest.approx((1 / 3, 11 / 3))


def test_pairs_are_those_of_task_and_seed():
    row = {"a": {0: 0.9, 1: 0.7, 5: 0.0}, "b": {0: 0.5}, "c": {0: 1.0}}
    baseline = {"a": {1: 0.6, 0: 0.5, 7: 1.0}, "b": {0: 0.7}, "d": {0: 0.0}}
    difference = paired_difference(row, baseline)
    # a: (0.4 + 0.1) / 2, b: -0.2; tasks count alike, whatever their number of seeds.
    assert difference.mean == pytest.approx((0.25 - 0.2) / 2)
    assert (difference.pairs, difference.tasks) == (3, 2)
    assert difference.low is None  # b has one seed
    only_a = paired_difference({"a": row["a"]}, baseline)
    assert (only_a.low, only_a.high) == pytest.approx((0.1, 0.4))
    assert paired_difference({"c": row["c"]}, baseline) is None


def test_pairing_removes_what_the_seeds_have_in_common():
    hard = np.random.default_rng(4).normal(0, 10, size=5)
    row = {"a": dict(enumerate(hard + 0.1))}
    assert paired_difference(row, {"a": dict(enumerate(hard))}).verdict(True) == "helps"


@pytest.mark.parametrize(
    ("values", "higher", "lower"),
    [([0.1, 0.2], "helps", "hurts"), ([-0.1, -0.2], "hurts", "helps"), ([-0.1, 0.2], "", ""), ([0.0, 0.0], "", ""),
     ([-0.1, 0.0], "", ""), ([0.1], "", "")],
)  # fmt: skip
def test_the_verdict_needs_the_whole_interval_on_one_side(values, higher, lower):
    difference = paired_difference({"a": dict(enumerate(values))}, {"a": dict.fromkeys(range(len(values)), 0.0)})
    assert difference.verdict(True) == higher
    assert difference.verdict(False) == lower


def test_the_interval_is_the_same_at_every_call_and_of_shifted_data_shifted():
    values = [0.1, 0.5, 0.2]
    assert bootstrap_interval([values]) == bootstrap_interval([values])
    shifted = bootstrap_interval([[value + 1 for value in values]])
    assert shifted == pytest.approx([end + 1 for end in bootstrap_interval([values])])


@pytest.mark.parametrize(("tasks", "seeds", "coverage"), [(1, 5, 0.83), (12, 5, 0.91), (1, 60, 0.945)])
def test_coverage_of_normal_data(tasks, seeds, coverage):
    generator = np.random.default_rng(5)
    trials = 1500
    covered = 0
    for trial in range(trials):
        low, high = bootstrap_interval(generator.normal(size=(tasks, seeds)), resamples=400, seed=trial)
        covered += low <= 0 <= high
    assert covered / trials == pytest.approx(coverage, abs=0.025)  # 2.5 standard errors of the simulation


@pytest.mark.parametrize("splits", [3, 5, 10])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_resampled_interval_covers_the_truth_for_new_rows(splits, noise):
    """Splits of 400 rows, a quarter tested on: the rows' gains are drawn, and training adds noise per split."""
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
