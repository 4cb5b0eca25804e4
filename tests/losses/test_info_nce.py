"""InfoNCE against a loop, in its limits, and as a bound of shared information."""

import math

import pytest
import torch

from tl_research.losses.info_nce import info_nce


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_it_is_its_definition_in_a_loop():
    a, b = drawn(5, 3), drawn(5, 3, seed=1)
    z = [row / row.norm() for row in torch.cat([a, b])]
    total = 0.0
    for i in range(10):
        partner = (i + 5) % 10
        others = sum(math.exp(float(z[i] @ z[k]) / 0.3) for k in range(10) if k != i)
        total -= math.log(math.exp(float(z[i] @ z[partner]) / 0.3) / others) / 10
    assert info_nce(a, b, temperature=0.3).item() == pytest.approx(total, rel=1e-9)
    assert info_nce(b, 7 * a, temperature=0.3).item() == pytest.approx(total, rel=1e-9)


def test_alike_it_is_the_log_of_the_others_and_apart_nothing():
    alike = torch.ones(6, 4, dtype=torch.float64)
    assert info_nce(alike, alike).item() == pytest.approx(math.log(11))
    apart = torch.eye(6, dtype=torch.float64)
    assert info_nce(apart, apart, temperature=0.01).item() == pytest.approx(0, abs=1e-9)
    for wrong in ((alike[:1], alike[:1]), (alike, alike[:2])):
        with pytest.raises(ValueError, match="wants"):
            info_nce(*wrong)
    with pytest.raises(ValueError, match="temperature"):
        info_nce(alike, alike, temperature=0)


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.95])
def test_it_bounds_the_information_of_gaussian_views(correlation):
    """Whatever the features: here those of the right form, a point on the circle per value."""
    n, x = 500, drawn(500, 1)
    y = correlation * x + math.sqrt(1 - correlation**2) * drawn(n, 1, seed=1)
    information = -0.5 * math.log(1 - correlation**2)
    first, second = (torch.cat([torch.cos(v), torch.sin(v)], dim=1) for v in (x, y))
    bound = math.log(2 * n - 1) - info_nce(first, second, temperature=0.5).item()
    assert bound <= information + 0.05
