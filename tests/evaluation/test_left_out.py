"""Figures without parts of their rows, and the variance that these give a mean over resamples."""

import math

import numpy as np
import pytest
import torch

from tl_research.metrics.left_out import auroc_left_out, left_out, noise_of, parts_of
from tl_research.outcomes.classes import ClassOutcome
from tl_research.outcomes.number import NumberOutcome


def of_mean(values, part):
    return left_out(lambda kept: values[kept].mean(), part)


def test_parts_keep_groups_together_and_are_nearly_equal():
    groups = np.repeat(np.arange(100), 3)
    part = parts_of(groups, seed=1)
    assert all(len(set(part[groups == group])) == 1 for group in range(100))
    assert set(np.bincount(part)) <= {6, 9}
    assert len(set(parts_of(np.arange(7), seed=1))) == 7, "fewer rows than parts: each is one"
    np.testing.assert_array_equal(part, parts_of(groups, seed=1))


def test_of_a_mean_it_is_the_variance_of_the_mean():
    """Efron & Stein: leaving out one row at a time gives s² / n exactly."""
    values = np.random.default_rng(0).exponential(size=40)
    noise = noise_of([of_mean(values, np.arange(40))])
    assert noise.mean == pytest.approx(values.var(ddof=1) / 40)
    assert noise.one == noise.mean


def test_over_folds_it_is_the_variance_of_the_mean_of_all_rows():
    values, part = np.random.default_rng(1).normal(size=40), np.arange(40)
    folds = [np.arange(40)[start::5] for start in range(5)]
    found = noise_of([of_mean(values[fold], part[fold]) for fold in folds])
    within = np.mean([values[fold].var(ddof=1) for fold in folds])
    assert found.mean == pytest.approx(within / 40)
    assert found.one == pytest.approx(within / 8)


def test_the_same_test_rows_do_not_average_out():
    values, part = np.random.default_rng(2).normal(size=30), np.arange(30)
    found = noise_of([of_mean(values, part)] * 10)
    assert found.mean == pytest.approx(found.one)
    apart = noise_of([of_mean(np.random.default_rng(seed).normal(size=30), part) for seed in range(10)])
    assert apart.mean < 0.2 * apart.one


def test_many_normal_rows_have_as_many_degrees_of_freedom_and_one_heavy_row_has_none():
    random = np.random.default_rng(3)
    freedom = [noise_of([of_mean(random.normal(size=40), np.arange(40))]).freedom for _ in range(200)]
    assert 30 < np.median(freedom) < 60
    heavy = np.r_[100.0, random.normal(size=39)]
    assert noise_of([of_mean(heavy, np.arange(40))]).freedom < 3


def test_a_figure_without_a_value_and_a_part_without_rows_are_nan():
    part = np.array([0, 0, 1])
    values = left_out(lambda kept: None if 2 in kept else 1.0, part, parts=4)
    assert values[1] == 1.0
    assert all(math.isnan(values[number]) for number in (0, 2, 3))
    assert all(math.isnan(value) for value in left_out(lambda kept: 1.0, np.zeros(5, dtype=int), parts=2))


@pytest.mark.parametrize(("rows", "ties"), [(5, True), (30, True), (300, False)])
def test_the_fast_auroc_without_parts_is_the_slow_one(rows, ties):
    random = np.random.default_rng(rows)
    score = random.integers(0, 6, rows).astype(float) if ties else random.normal(size=rows)
    positive, part = random.random(rows) < 0.4, parts_of(np.arange(rows), seed=1)
    outcome, label = ClassOutcome(("no", "yes")), torch.from_numpy(positive).long()
    logits = torch.from_numpy(np.stack([np.zeros(rows), score], axis=1))
    slow = left_out(lambda kept: outcome.figure("auroc", logits[kept], label[kept]), part)
    np.testing.assert_allclose(auroc_left_out(score, positive, part), slow, rtol=1e-12)
    said = outcome.left_out("auroc", logits, label, part)
    np.testing.assert_allclose(np.array(said, dtype=float), slow, rtol=1e-6)


def test_an_outcome_leaves_parts_out_of_any_of_its_metrics():
    part = parts_of(np.arange(20), seed=0)
    outcome = NumberOutcome(mean=1.0, std=2.0)
    outputs, label = torch.randn(20, 1, dtype=torch.float64), torch.randn(20, dtype=torch.float64)
    found = outcome.left_out("rmse", outputs, label, part)
    kept = np.flatnonzero(part != 3)
    assert found[3] == pytest.approx(outcome.metrics(outputs[kept], label[kept])["rmse"], rel=1e-6)
    assert found[25] is None


def test_it_finds_the_variance_of_an_auroc():
    """Over many test sets of 100 rows, the mean jackknife variance is the variance of the AUROC."""
    random, values, variances = np.random.default_rng(4), [], []
    for _ in range(400):
        positive = np.arange(100) < 30
        score = random.normal(size=100) + positive
        outside = auroc_left_out(score, positive, parts_of(np.arange(100), seed=0))
        variances.append(noise_of([outside]).one)
        values.append(np.mean(outside))
    assert np.mean(variances) == pytest.approx(np.var(values), rel=0.15)
