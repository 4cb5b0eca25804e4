"""Bandwidth heuristics against loops over pairs."""

import pytest
import torch

from tl_research.kernels import bandwidth_ladder, mean_squared_distance


def rows(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mean_over_pairs(z):
    pairs = [(z[i] - z[j]).square().sum().item() for i in range(len(z)) for j in range(len(z)) if i != j]
    return sum(pairs) / len(pairs)


@pytest.mark.parametrize(("n", "d"), [(2, 3), (9, 1), (20, 6)])
def test_mean_squared_distance_by_a_loop(n, d):
    z = rows(n, d)
    assert mean_squared_distance(z).item() == pytest.approx(mean_over_pairs(z), rel=1e-12)


def test_an_offset_of_fifty_costs_no_digits_and_half_is_widened():
    z = rows(50, 8)
    expected = mean_squared_distance(z).item()
    assert mean_squared_distance((z + 50).float()).item() == pytest.approx(expected, rel=1e-5)
    of_half = mean_squared_distance(z.bfloat16())
    assert of_half.dtype == torch.float32
    assert of_half.item() == pytest.approx(mean_squared_distance(z.bfloat16().double()).item(), rel=1e-5)


@pytest.mark.parametrize(("count", "exponents"), [(1, [0]), (2, [-1, 0]), (5, [-2, -1, 0, 1, 2])])
def test_ladder_surrounds_the_mean_squared_distance_of_the_pooled_rows(count, exponents):
    x, y = rows(10, 3), rows(6, 3, seed=1) + 2
    pooled = mean_over_pairs(torch.cat([x, y]))
    sigmas = bandwidth_ladder(x, y, count=count, ratio=3.0)
    expected = torch.tensor([3.0**b * pooled for b in exponents], dtype=torch.float64)
    torch.testing.assert_close(2 * sigmas**2, expected)


def test_ladder_has_no_gradient_and_scales_with_the_features():
    x, y = rows(10, 3).requires_grad_(), rows(6, 3, seed=1)
    sigmas = bandwidth_ladder(x, y)
    assert not sigmas.requires_grad
    torch.testing.assert_close(bandwidth_ladder(7 * x, 7 * y), 7 * sigmas)


def test_identical_rows_give_finite_bandwidths():
    sigmas = bandwidth_ladder(torch.ones(3, 2), torch.ones(4, 2))
    assert (sigmas > 0).all()
    assert (1 / sigmas**2).isfinite().all()


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="N >= 2"):
        mean_squared_distance(torch.zeros(1, 3))
    with pytest.raises(ValueError, match="count=0"):
        bandwidth_ladder(rows(3, 2), rows(3, 2), count=0)
