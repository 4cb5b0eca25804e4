"""The witness function against dense kernel matrices and against the MMD that it explains."""

import pytest
import torch

from tests.kernels.dense import dense_kernel, shares
from tl_research.kernels import mmd2, witness
from tl_research.kernels.kernel import FAMILIES

SIGMAS = (0.7, 1.5)


def rows(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(n, seed):
    return torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("kernel", FAMILIES)
@pytest.mark.parametrize("weighted", [False, True])
def test_values_and_gradients_by_dense_matrices(kernel, weighted):
    points, x, y = (rows(n, 3, seed=n).requires_grad_() for n in (4, 7, 5))
    p, q = (uniform(7, seed=91).requires_grad_(), uniform(5, seed=92).requires_grad_())
    weights = {"x_weight": p, "y_weight": q} if weighted else {}
    values = witness(points, x, y, bandwidths=SIGMAS, kernel=kernel, alpha=0.8, **weights)
    p_share, q_share = shares(x, weights.get("x_weight")), shares(y, weights.get("y_weight"))
    expected = (
        dense_kernel(points, x, SIGMAS, kernel, 0.8) @ p_share - dense_kernel(points, y, SIGMAS, kernel, 0.8) @ q_share
    )
    torch.testing.assert_close(values, expected)
    upstream = rows(4, 1, seed=8)[:, 0]
    tensors = (points, x, y, *weights.values())
    found, wanted = (torch.autograd.grad(v, tensors, upstream) for v in (values, expected))
    for got, want in zip(found, wanted):
        torch.testing.assert_close(got, want)


def test_its_mean_difference_is_the_biased_mmd():
    x, y = rows(9, 2), rows(6, 2, seed=1) + 0.5
    difference = witness(x, x, y, bandwidths=SIGMAS).mean() - witness(y, x, y, bandwidths=SIGMAS).mean()
    torch.testing.assert_close(difference, mmd2(x, y, bandwidths=SIGMAS, estimator="biased"))


def test_it_is_high_where_x_is_and_low_where_y_is():
    x, y = rows(100, 2) - 1, rows(100, 2, seed=1) + 1
    at_x, at_y = witness(torch.tensor([[-1.0, -1.0], [1.0, 1.0]]), x.float(), y.float(), bandwidths=SIGMAS)
    assert at_x > 0.1
    assert at_y < -0.1


def test_an_offset_costs_no_digits():
    points, x, y = (rows(n, 4, seed=n) for n in (5, 30, 20))
    expected = witness(points, x, y, bandwidths=SIGMAS).float()
    found = witness(*((part + 50).float() for part in (points, x, y)), bandwidths=SIGMAS)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_bad_input_is_refused():
    x, y = torch.zeros(3, 2), torch.zeros(4, 2)
    with pytest.raises(ValueError, match=r"witness: x_weight: got shape \(3, 2\)"):
        witness(x, x, y, bandwidths=[1.0], x_weight=torch.ones(3, 2))
    with pytest.raises(ValueError, match="witness: y_weight: got a negative weight"):
        witness(x, x, y, bandwidths=[1.0], y_weight=-torch.ones(4))
    with pytest.raises(ValueError, match="wants float"):
        witness(torch.zeros(3, 5), x, y, bandwidths=[1.0])
