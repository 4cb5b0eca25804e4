"""Classifier, neighbour, similarity and selection weights against scipy, written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from tests.weighting.problem import two_gaussians
from tl_research.errors import ConfigError, DataError
from tl_research.registry import WEIGHTINGS
from tl_research.weighting.base import weigh


def raw(name: str, source, target, **options) -> np.ndarray:
    config = WEIGHTINGS.get(name).config(**options)
    return WEIGHTINGS.get(name).target(source, target, config, seed=0)[0].numpy()


@pytest.mark.parametrize("squares", [False, True])
def test_density_ratio_is_the_minimiser_of_the_penalised_log_loss(squares):
    source, target, _ = two_gaussians(90, 60, d=3)
    centre = torch.cat([source, target]).mean(dim=0)
    x = torch.cat([source, target]).sub(centre).numpy()
    x = np.concatenate([x, x**2], axis=1) if squares else x
    sign = np.repeat([-1, 1], [90, 60])

    def loss(w):
        return np.logaddexp(0, -sign * (x @ w[:-1] + w[-1])).mean() + 0.5 * 0.01 * w[:-1] @ w[:-1]

    w = minimize(loss, np.zeros(x.shape[1] + 1), method="BFGS", options={"gtol": 1e-9}).x
    expected = 90 / 60 * np.exp(x[:90] @ w[:-1] + w[-1])
    np.testing.assert_allclose(raw("density_ratio", source, target, ridge=[0.01], squares=squares), expected, rtol=1e-3)


def test_density_ratio_has_mean_one_on_the_source_whatever_the_sizes():
    source, target, _ = two_gaussians(4000, 400)
    assert raw("density_ratio", source, target, squares=True).mean() == pytest.approx(1, abs=0.1)


def test_out_of_fold_scores_come_from_rows_not_seen():
    source, target, _ = two_gaussians(60, 60, d=30)
    seen = raw("density_ratio", source, target, ridge=[1e-4])
    unseen = raw("density_ratio", source, target, ridge=[1e-4], out_of_fold=True)
    # In 30 columns the classifier knows the rows it saw for the source's: their weights are smaller.
    assert np.median(seen) < 0.6 * np.median(unseen)


@pytest.mark.parametrize("d", [2, 40])
@pytest.mark.parametrize(("k", "smoothing"), [(1, 0.0), (3, 1.0)])
def test_nearest_neighbour_weight_counts_voronoi_cells(d, k, smoothing):
    source, target, _ = two_gaussians(50, 80, d=d)
    nearest = cdist(target, source).argsort(axis=1)[:, :k]
    expected = np.bincount(nearest.ravel(), minlength=50) + smoothing
    np.testing.assert_array_equal(raw("nearest_neighbour_weight", source, target, k=k, smoothing=smoothing), expected)


def test_nearest_neighbour_weights_estimate_target_means():
    source, target, _ = two_gaussians(4000, 4000)
    weight = weigh(source, target, WEIGHTINGS.get("nearest_neighbour_weight").config(), seed=0).weight
    for value, exact in ((source[:, 0], 0.5), (source.square().sum(dim=1), 0.5**2 + 2 * 0.7**2)):
        got = (weight * value).mean().item()
        assert got == pytest.approx(exact, abs=0.05)
        assert abs(value.mean().item() - exact) > 0.3


def test_similarities_are_their_formulas():
    source, target, _ = two_gaussians(70, 50, d=3)
    mean, x, z = target.mean(dim=0, keepdim=True).numpy(), source.numpy(), target.numpy()
    expected = {
        "gaussian": np.exp(-cdist(x, z, "sqeuclidean") / (2 * 1.3**2)).mean(axis=1),
        "cosine": 1 - cdist(x, mean, "cosine")[:, 0] / 2,
        "euclidean": 1 / (1 + cdist(x, mean)[:, 0]),
        "mahalanobis": 1 / (1 + cdist(x, mean, "mahalanobis", VI=np.linalg.inv(np.cov(z.T)))[:, 0]),
    }
    ratio = raw("density_ratio", source, target) * 50 / 70
    expected["domain_score"] = ratio / (1 + ratio)
    for name, value in expected.items():
        got = raw("similarity_weight", source, target, similarity=name, bandwidth=1.3)
        np.testing.assert_allclose(got, value / value.sum(), rtol=1e-9, err_msg=name)


def test_the_mean_kernel_over_some_target_rows_is_recorded_and_near():
    source, target, _ = two_gaussians(500, 4000)
    config = WEIGHTINGS.get("similarity_weight").config
    every = weigh(source, target, config(), seed=0)
    some = weigh(source, target, config(target_rows=1000), seed=0)
    assert (every.facts["target_rows"], some.facts["target_rows"]) == (4000, 1000)
    assert 0 < (some.weight - every.weight).abs().max() < 0.1


def test_similarities_that_are_undefined_are_refused():
    source, target, _ = two_gaussians(20, 20, d=3)
    with pytest.raises(DataError, match="target mean is 0"):
        raw("similarity_weight", source, target - target.mean(dim=0), similarity="cosine")
    doubled = torch.cat([target, target[:, :1]], dim=1)
    with pytest.raises(DataError, match="covariance is singular"):
        raw("similarity_weight", torch.cat([source, source[:, :1]], dim=1), doubled, similarity="mahalanobis")


@pytest.mark.parametrize("score", ["domain_score", "neighbours", "gaussian", "euclidean", "mahalanobis"])
def test_selection_keeps_exactly_the_share_of_largest_score(score):
    source, target, _ = two_gaussians(71, 50, d=3)
    kept = raw("sample_selection", source, target, score=score, share=0.3)
    assert sorted(set(kept)) == [0, 1]
    assert kept.sum() == 22
    if score == "neighbours":
        value = -np.sort(cdist(source, target), axis=1)[:, :5].mean(axis=1)
    else:
        value = raw("similarity_weight", source, target, similarity=score)
    assert value[kept == 1].min() > value[kept == 0].max()


def test_selection_keeps_the_share_where_all_rows_tie():
    source = torch.zeros(10, 2)
    assert raw("sample_selection", source, source + 1, score="euclidean", share=0.4).sum() == 4


def test_more_neighbours_than_rows_are_refused():
    source, target, _ = two_gaussians(3, 3)
    with pytest.raises(ConfigError, match=r"method\.weighting\.k: got 4, wants at most the 3 source rows"):
        raw("nearest_neighbour_weight", source, target, k=4)
    with pytest.raises(ConfigError, match=r"method\.weighting\.k: got 5, wants at most the 3 target rows"):
        raw("sample_selection", source, target, score="neighbours")
