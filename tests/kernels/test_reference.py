"""The oracle's hand-written gradients against automatic differentiation."""

import pytest
import torch

from tl_research.kernels.backends import reference
from tl_research.kernels.kernel import FAMILIES, Kernel


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_those_of_the_weighted_sum(family, monkeypatch):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    rows, weight, scale = [draw(12, 3), draw(12, 2)], draw(12, 2), draw(3, 2)
    bandwidths = torch.tensor([1.0, 2.0]).double(), torch.tensor([0.7]).double()
    kernel = Kernel(family, bandwidths, (False, False), alpha=1.5)
    out = reference.pair_sums(rows, 7, weight, scale, kernel, gradient=(True, True), weight_gradient=True)

    # A row's pair with itself is in no sum; at distance 0 automatic differentiation would make NaN of the Laplacian's.
    squared = reference._squared
    monkeypatch.setattr(reference, "_squared", lambda a, b: squared(a, b) + torch.eye(len(a), dtype=a.dtype))
    apart = reference.pair_sums(rows, 7, weight, scale, kernel, gradient=(False, False), weight_gradient=False)
    torch.testing.assert_close(apart.sums, out.sums)
    expected = torch.autograd.grad((scale * apart.sums).sum(), [*rows, weight, scale])
    for got, wanted in zip([*out.grad, out.weight_grad, out.sums], expected):
        torch.testing.assert_close(got, wanted)
