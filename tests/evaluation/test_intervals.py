"""Intervals of figures: closed forms elsewhere, and how often they hold the truth."""

import numpy as np
import pytest
from scipy import stats

from tl_research.metrics.intervals import (
    auroc_interval,
    class_interval,
    mean_interval,
    number_interval,
    r2_interval,
    wilson,
)


@pytest.mark.parametrize(("hits", "rows"), [(0, 1), (1, 1), (7, 20), (20, 20), (0, 50), (193, 200)])
def test_a_share_has_scipys_wilson_interval(hits, rows):
    theirs = stats.binomtest(hits, rows).proportion_ci(0.95, method="wilson")
    assert wilson(hits, rows) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@pytest.mark.parametrize("auroc", [0.0, 0.3, 0.5, 0.84, 1.0])
@pytest.mark.parametrize(("m", "n"), [(1, 1), (5, 60), (40, 40)])
def test_the_ends_of_an_auroc_are_where_the_distance_is_z_standard_errors(auroc, m, n):
    low, high = auroc_interval(auroc, m, n)
    assert 0 <= low <= auroc <= high <= 1
    for theta in (low, high):
        q1, q2, mean = theta / (2 - theta), 2 * theta**2 / (1 + theta), (m + n) / 2
        # Hanley and McNeil's variance, with the classes' mean size in the place of each.
        variance = (theta * (1 - theta) + (mean - 1) * (q1 + q2 - 2 * theta**2)) / (m * n)
        if 0 < theta < 1:
            assert abs(auroc - theta) == pytest.approx(stats.norm.ppf(0.975) * np.sqrt(variance), abs=1e-9)


def test_the_interval_of_an_auroc_covers_the_truth():
    random, hit, tried = np.random.default_rng(0), [], 400
    for rows in (20, 60, 200):
        for share in (0.5, 0.2):
            for truth in (0.6, 0.9):
                shift, m = np.sqrt(2) * stats.norm.ppf(truth), round(rows * share)
                above = random.normal(shift, 1, (tried, m))[:, :, None] > random.normal(size=(tried, 1, rows - m))
                ends = np.array([auroc_interval(value, m, rows - m) for value in above.mean(axis=(1, 2))])
                hit.append(np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1])))
    assert min(hit) >= 0.92
    assert 0.94 <= np.mean(hit) <= 0.975


def test_the_interval_of_r2_and_of_a_mean_cover_the_truth():
    random = np.random.default_rng(1)
    for rows, least in ((20, 0.88), (50, 0.91), (200, 0.92)):
        for truth in (0.3, 0.9):
            hit = []
            for _ in range(500):
                known, error = random.normal(size=rows), random.normal(0, np.sqrt((1 - truth) / truth), rows)
                low, high = number_interval("r2", known, known + error)
                hit.append(low <= truth <= high)
            assert least <= np.mean(hit) <= 0.99
        ends = [mean_interval(random.normal(3, 2, rows)) for _ in range(500)]
        assert 0.92 <= np.mean([low <= 3 <= high for low, high in ends]) <= 0.98


def test_what_has_no_interval_has_none():
    assert r2_interval(np.ones(2), np.arange(2.0)) is None
    assert r2_interval(np.zeros(9), np.arange(9.0)) is None
    assert r2_interval(np.ones(9), np.ones(9)) is None
    assert mean_interval(np.ones(1)) is None
    assert class_interval("auroc", 1.0, [30, 0]) is None
    assert class_interval("macro_f1", 0.5, [30, 30]) is None
    assert class_interval("auroc", 0.8, [30, 20]) == auroc_interval(0.8, 20, 30)
    assert class_interval("accuracy", 0.5, [3, 1]) == wilson(2, 4)
