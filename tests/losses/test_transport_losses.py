"""Sliced Wasserstein and Sinkhorn divergence against POT, closed forms of Gaussians and limits."""

import math

import pytest
import torch

from tl_research.losses.sinkhorn import sinkhorn_divergence
from tl_research.losses.sliced_wasserstein import sliced_wasserstein, unit_directions


def rows(n, d, seed=0, dtype=torch.float64):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def lines(count, width):
    return unit_directions(count, width, torch.Generator().manual_seed(7)).double()


@pytest.mark.parametrize(("n", "m"), [(12, 12), (12, 7), (1, 5), (9, 6)])
def test_sliced_wasserstein_is_pots(n, m):
    ot = pytest.importorskip("ot")
    x, y, directions = rows(n, 3), 2 * rows(m, 3, seed=1) + 1, lines(20, 3)
    expected = ot.sliced_wasserstein_distance(x.numpy(), y.numpy(), projections=directions.T.numpy(), p=2) ** 2
    assert sliced_wasserstein(x, y, directions).item() == pytest.approx(expected)


def test_sliced_wasserstein_of_gaussians():
    """W_2² of N(m, s²) and N(0, 1) on a line: m² + (s - 1)²."""
    x, y = rows(20_000, 1), 3 + 2 * rows(15_000, 1, seed=1)
    assert sliced_wasserstein(x, y, torch.ones(1, 1)).item() == pytest.approx(9 + 1, rel=0.03)


def test_sliced_wasserstein_of_a_shift_and_of_repeated_rows():
    x, directions = rows(10, 4), lines(5000, 4)
    shift = torch.tensor([1.0, 2, 0, 2]).double()
    assert sliced_wasserstein(x, x + shift, directions).item() == pytest.approx(9 / 4, rel=0.05)
    assert sliced_wasserstein(x, x.repeat(3, 1), directions).item() == pytest.approx(0, abs=1e-20)


def test_directions_have_length_one_and_no_preference():
    directions = lines(20_000, 3)
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(20_000).double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(directions.T @ directions / 20_000, torch.eye(3).double() / 3, rtol=0, atol=0.01)


@pytest.mark.parametrize(("n", "m", "eps"), [(8, 8, 0.5), (10, 6, 2.0), (5, 9, 0.1)])
def test_sinkhorn_divergence_is_pots(n, m, eps):
    ot = pytest.importorskip("ot")
    x, y = rows(n, 3), rows(m, 3, seed=1) + 1

    def transport(a, b):
        weights = [torch.full((len(side),), 1 / len(side)).double() for side in (a, b)]
        cost = torch.cdist(a, b).square()
        plan = ot.sinkhorn(*weights, cost, eps, method="sinkhorn_log", numItermax=100_000, stopThr=1e-12)
        return (plan * cost).sum() + eps * (plan * (plan / (weights[0][:, None] * weights[1])).log()).sum()

    expected = transport(x, y) - (transport(x, x) + transport(y, y)) / 2
    found = sinkhorn_divergence(x, y, regularization=eps, tolerance=1e-10, max_iterations=20_000)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_sinkhorn_divergence_gradient_is_that_of_differences():
    x, y = rows(6, 2).requires_grad_(), (rows(4, 2, seed=1) + 1).requires_grad_()
    solved = {"regularization": 1.0, "tolerance": 1e-12, "max_iterations": 5000}
    assert torch.autograd.gradcheck(lambda a, b: sinkhorn_divergence(a, b, **solved), (x, y), atol=1e-5)


def test_sinkhorn_divergence_of_much_entropy_is_the_squared_distance_of_means():
    x, y = rows(9, 3), rows(7, 3, seed=1) + 2
    expected = (x.mean(0) - y.mean(0)).square().sum().item()
    assert sinkhorn_divergence(x, y, regularization=1e5).item() == pytest.approx(expected, rel=1e-3)


def test_sinkhorn_divergence_of_a_shift_is_its_square_at_any_entropy():
    x, shift = rows(9, 3), torch.tensor([3.0, 0, 4]).double()
    for eps in (0.5, 5.0, 50.0):
        value = sinkhorn_divergence(x, x + shift, regularization=eps, tolerance=1e-9, max_iterations=20_000)
        assert value.item() == pytest.approx(25, rel=1e-4)


def test_sinkhorn_divergence_of_equal_samples_is_0_and_of_others_above():
    x = rows(9, 3)
    assert sinkhorn_divergence(x, x.flip(0).clone(), regularization=0.5).item() == pytest.approx(0, abs=1e-3)
    assert sinkhorn_divergence(x, rows(9, 3, seed=1), regularization=0.5).item() > 0.01


def test_problems_solved_together_are_those_solved_alone():
    x, y = rows(24, 3).view(4, 6, 3), rows(20, 3, seed=1).view(4, 5, 3) + 1
    together = sinkhorn_divergence(x, y, regularization=1.0, tolerance=1e-10, max_iterations=2000)
    alone = [sinkhorn_divergence(a, b, regularization=1.0, tolerance=1e-10, max_iterations=2000) for a, b in zip(x, y)]
    torch.testing.assert_close(together, torch.stack(alone))


def test_an_offset_and_little_entropy_stay_finite_in_float32():
    x, y = rows(30, 4, dtype=torch.float32), rows(30, 4, seed=1, dtype=torch.float32) + 1
    value = sinkhorn_divergence(x + 1000, y + 1000, regularization=1e-4)
    assert math.isfinite(value.item())
    near = sinkhorn_divergence(x + 1000, y + 1000, regularization=1.0)
    assert near.item() == pytest.approx(sinkhorn_divergence(x, y, regularization=1.0).item(), rel=1e-2)


def test_float32_inside_autocast():
    x, y = rows(10, 3, dtype=torch.float32), rows(8, 3, seed=1, dtype=torch.float32)
    directions = lines(5, 3).float()
    plain = sliced_wasserstein(x, y, directions), sinkhorn_divergence(x, y, regularization=1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = sliced_wasserstein(x, y, directions), sinkhorn_divergence(x, y, regularization=1.0)
    assert [value.item() for value in inside] == [value.item() for value in plain]


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"directions \(5, 2\)"):
        sliced_wasserstein(rows(3, 3), rows(3, 3), lines(5, 2))
    with pytest.raises(ValueError, match=r"\(3, 3\) and \(3, 2\)"):
        sinkhorn_divergence(rows(3, 3), rows(3, 2), regularization=1.0)
    with pytest.raises(ValueError, match="regularization 0"):
        sinkhorn_divergence(rows(3, 3), rows(3, 3), regularization=0)
