"""Mean alignment, CORAL and the linear Monge map against their closed forms, made with scipy's matrix functions."""

import numpy as np
import pytest
import torch
from scipy.linalg import fractional_matrix_power, inv, sqrtm

from tests.alignment.domains import fitted, two_domains
from tl_research.alignment.coral import CORAL
from tl_research.alignment.linear_monge import LinearMonge
from tl_research.alignment.mean_alignment import MeanAlignment

SHAPES = pytest.mark.parametrize(("n", "m", "d"), [(60, 45, 7), (6, 9, 40), (25, 10, 20)])


def covariances(source, target, ridge):
    return [np.cov(rows.x.numpy().T) + ridge * np.eye(rows.x.shape[1]) for rows in (source, target)]


def test_mean_alignment():
    source, target = two_domains()
    moved = fitted(MeanAlignment(), source, target).source(source.x)
    torch.testing.assert_close(moved.mean(0), target.x.mean(0))
    torch.testing.assert_close(moved - moved.mean(0), source.x - source.x.mean(0))
    scaled = fitted(MeanAlignment(scale=True), source, target).source(source.x)
    torch.testing.assert_close(scaled.mean(0), target.x.mean(0))
    torch.testing.assert_close(scaled.std(0), target.x.std(0))


@SHAPES
def test_coral_is_its_closed_form(n, m, d):
    source, target = two_domains(n, m, d)
    c_s, c_t = covariances(source, target, 1.0)
    matrix = fractional_matrix_power(c_s, -0.5) @ sqrtm(c_t).real
    new = two_domains(n, m, d, seed=4)[0].x
    mean_s, mean_t = source.x.mean(0).numpy(), target.x.mean(0).numpy()
    for match, plus in ((True, mean_t), (False, mean_s)):
        got = fitted(CORAL(match_means=match), source, target).source(new)
        np.testing.assert_allclose(got.numpy(), (new.numpy() - mean_s) @ matrix + plus, rtol=0, atol=1e-9)


@SHAPES
@pytest.mark.parametrize("ridge", [1e-2, 1.0])
def test_linear_monge_is_its_closed_form(n, m, d, ridge):
    """POT's formula (ot.gaussian.bures_wasserstein_mapping), by hand."""
    source, target = two_domains(n, m, d)
    c_s, c_t = covariances(source, target, ridge)
    root = sqrtm(c_s).real
    matrix = inv(root) @ sqrtm(root @ c_t @ root).real @ inv(root)
    shift = target.x.mean(0).numpy() - source.x.mean(0).numpy() @ matrix
    new = two_domains(n, m, d, seed=4)[0].x
    got = fitted(LinearMonge(ridge=ridge), source, target).source(new)
    np.testing.assert_allclose(got.numpy(), new.numpy() @ matrix + shift, rtol=0, atol=1e-8)


@pytest.mark.parametrize("make", [CORAL, LinearMonge])
def test_the_mapped_source_has_the_targets_mean_and_covariance_as_the_ridge_goes_to_zero(make):
    source, target = two_domains()
    for ridge, tolerance in ((1e-4, 1e-2), (1e-11, 1e-8)):
        moved = fitted(make(ridge=ridge), source, target).source(source.x)
        torch.testing.assert_close(torch.cov(moved.T), torch.cov(target.x.T), rtol=0, atol=tolerance)
        torch.testing.assert_close(moved.mean(0), target.x.mean(0))


def test_monge_is_the_cheaper_of_the_two_maps():
    """Both give the target's covariance; only the Monge map is symmetric positive definite, so it moves rows least."""
    source, target = two_domains()
    moves = {}
    for make in (CORAL, LinearMonge):
        moved = fitted(make(ridge=1e-11), source, target).source(source.x)
        moves[make] = (moved - source.x).square().sum(1).mean().item()
    assert moves[LinearMonge] < moves[CORAL]
    # The Bures distance between the two Gaussians is what an optimal map costs.
    c_s, c_t = covariances(source, target, 0.0)
    root = sqrtm(c_s).real
    bures = np.trace(c_s + c_t - 2 * sqrtm(root @ c_t @ root).real)
    n = len(source.x)
    gap = (source.x.mean(0) - target.x.mean(0)).square().sum().item()
    assert moves[LinearMonge] == pytest.approx(gap + bures * (n - 1) / n, rel=1e-7)


def test_coral_without_means_keeps_the_sources():
    source, target = two_domains()
    moved = fitted(CORAL(match_means=False), source, target).source(source.x)
    torch.testing.assert_close(moved.mean(0), source.x.mean(0))


def test_few_rows_need_no_square_matrix_of_the_columns():
    source, target = two_domains(10, 8, 3000)
    for make in (CORAL, LinearMonge):
        alignment = fitted(make(), source, target)
        assert max(buffer.numel() for buffer in alignment.buffers()) <= 18 * 3000


def test_a_second_fit_forgets_the_first_ones_basis():
    for make in (CORAL, LinearMonge):
        wide_then_narrow = fitted(fitted(make(), *two_domains(6, 6, 40)), *two_domains())
        source, target = two_domains()
        expected = fitted(make(), source, target).source(source.x)
        torch.testing.assert_close(wide_then_narrow.source(source.x), expected, rtol=0, atol=0)
