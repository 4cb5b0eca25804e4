"""Joint PCA against scikit-learn."""

import numpy as np
import pytest
import sklearn.decomposition
import torch

from tests.alignment.domains import fitted, two_domains
from tl_research.alignment.base import Rows
from tl_research.alignment.pca import PCA


@pytest.mark.parametrize(("n", "m", "d"), [(60, 45, 7), (6, 5, 30), (12, 18, 30)])
def test_agrees_with_scikit_learn(n, m, d):
    source, target = two_domains(n, m, d)
    pooled = torch.cat((source.x, target.x))
    expected = sklearn.decomposition.PCA(n_components=5, svd_solver="full").fit(pooled)
    alignment = fitted(PCA(components=5), source, target)
    signs = torch.sign((alignment.directions * torch.tensor(expected.components_.T)).sum(dim=0))
    got, wanted = alignment.source(pooled) * signs, torch.tensor(expected.transform(pooled))
    torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-8)
    assert alignment.facts()["explained_variance"] == pytest.approx(expected.explained_variance_ratio_.sum(), rel=1e-9)


def test_largest_entry_of_each_direction_is_positive():
    directions = fitted(PCA(components=5), *two_domains()).directions
    peak = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))
    assert (peak > 0).all()


def test_balanced_is_the_mean_of_both_covariances_about_the_mean_of_both_means():
    source, target = two_domains(400, 20)
    alignment = fitted(PCA(components=7, balanced=True), source, target)
    middle = (source.x.mean(0) + target.x.mean(0)) / 2
    torch.testing.assert_close(alignment.mean, middle)
    spread = sum(((x - middle).T @ (x - middle) / len(x)) for x in (source.x, target.x)).numpy()
    _, vectors = np.linalg.eigh(spread)
    overlap = (torch.tensor(vectors[:, ::-1].copy()) * alignment.directions).sum(dim=0).abs()
    torch.testing.assert_close(overlap, torch.ones_like(overlap), rtol=1e-8, atol=1e-8)


def test_rows_weigh_the_same_unless_balanced():
    """A copy of the target's rows changes the pooled directions, and the balanced ones not."""
    source, target = two_domains()
    twice = Rows(target.x.repeat(5, 1))

    def directions(balanced, rows):
        return fitted(PCA(components=3, balanced=balanced), source, rows).directions

    torch.testing.assert_close(directions(True, twice), directions(True, target), rtol=1e-8, atol=1e-8)
    assert (directions(False, twice) - directions(False, target)).abs().max() > 0.05
