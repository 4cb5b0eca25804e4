"""The interval of a gain: by hand, in its limits, and how often it holds a truth that is known."""

import importlib
import math
from pathlib import Path

import numpy as np
import pytest

from tl_research.answer.interval import HELD_BACK, gain_interval
from tl_research.metrics.left_out import noise_of
from tl_research.report.statistics import resampled_interval, t_reach, variance_over

SIZES = {"test_rows": 20, "train_rows": 80}
GAINS = [0.02, 0.05, 0.03, 0.06, 0.04]


def parts(spread, resamples=5, seed=0):
    return 0.04 + spread * np.random.default_rng(seed).normal(size=(resamples, 40))


def test_without_the_parts_of_the_rows_it_is_the_corrected_resampled_t():
    assert gain_interval(GAINS, **SIZES) == resampled_interval(GAINS, test_share=0.2)
    empty = np.full((5, 40), np.nan)
    assert gain_interval(GAINS, **SIZES, without=empty) == gain_interval(GAINS, **SIZES), "no part has a figure"


def test_with_them_its_variance_is_that_of_rows_and_training():
    without = parts(0.002)
    reach = t_reach([variance_over(GAINS, noise_of(without), shared=0.5)])
    low, high = gain_interval(GAINS, **SIZES, without=without)
    assert (low, high) == pytest.approx((0.04 - reach, 0.04 + reach))


def test_resamples_that_share_few_training_rows_share_little_of_its_variance():
    """Ten of a hundred labels are learnt from: 10 / 90 of the variance stays, not one half."""
    without = parts(0.0)
    few, all_shown = (gain_interval(GAINS, **SIZES, without=without, shown_rows=rows) for rows in (10, 80))
    variance = np.var(GAINS, ddof=1)
    assert few[1] - few[0] == pytest.approx(2 * t_reach([((1 / 5 + 1 / 9) * variance, 4)]))
    assert all_shown[1] - all_shown[0] == pytest.approx(2 * t_reach([((1 / 5 + 1 / 2) * variance, 4)]))


def test_a_gate_that_is_always_shut_is_not_sure():
    shut = np.zeros((5, 40))
    assert gain_interval([0.0] * 5, **SIZES, without=shut) == (0, 0)
    held = parts(0.01)
    low, high = gain_interval([0.0] * 5, **SIZES, without=shut, held_back=held)
    noise = noise_of(held)
    assert high == -low
    assert high == pytest.approx(t_reach([(HELD_BACK * noise.mean, noise.freedom)]), rel=0.01)


def test_an_open_gate_changes_nothing():
    without = parts(0.01)
    assert gain_interval(GAINS, **SIZES, without=without, held_back=without) == gain_interval(
        GAINS, **SIZES, without=without
    )


def test_a_single_resample_decides_nothing():
    assert gain_interval([0.1], **SIZES) == (-math.inf, math.inf)


@pytest.fixture
def coverage(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    return importlib.import_module("coverage")


def held(coverage, part, kind, *case, **options):
    """How often each kind of interval holds the truth in a case of benchmarks/coverage.py."""
    lines = coverage.lines(coverage.Case(part, getattr(coverage, kind), *case, **options), 200)
    return {line["interval"]: float(line["coverage"]) for line in lines}


@pytest.mark.parametrize(("kind", "labels", "old_data"), [("Classes", None, "source"), ("Numbers", 20, "pooled")])
def test_it_holds_the_truth_of_the_stand_ins(coverage, kind, labels, old_data):
    found = held(coverage, "answer", kind, 100, "folds", 10, labels=labels, old_data=old_data)
    assert 0.92 <= found["with parts"] <= 0.99
    assert found["resampled t"] >= found["with parts"] - 0.01, "which is wider"


def test_tables_hold_the_truth_of_the_stand_ins(coverage):
    found = held(coverage, "suite", "Classes", 160, "drawn", 5, labels=20)
    assert 0.92 <= found["with parts"] <= 0.99
    assert found["older records"] >= 0.94
