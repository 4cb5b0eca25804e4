"""The linear-time estimator against its definition, its null, and what it may not cost."""

import math

import pytest
import torch

from tests.kernels.dense import dense_kernel
from tl_research.kernels import mmd2
from tl_research.kernels.kernel import FAMILIES

FIVE = (0.5, 0.8, 1.0, 2.0, 4.0)


def rows(n, d, seed=0, dtype=torch.float64):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def by_definition(x, y, bandwidths, kernel="gaussian"):
    """Mean of h over pairs of neighbouring rows, from whole kernel matrices."""
    within_x, within_y, across = (dense_kernel(a, b, bandwidths, kernel) for a, b in ((x, x), (y, y), (x, y)))
    pairs = range(0, 2 * (min(len(x), len(y)) // 2), 2)
    h = [within_x[i, i + 1] + within_y[i, i + 1] - across[i, i + 1] - across[i + 1, i] for i in pairs]
    return sum(h) / len(h)


@pytest.mark.parametrize("kernel", FAMILIES)
@pytest.mark.parametrize(("n", "m"), [(2, 2), (8, 8), (9, 9), (7, 12), (12, 7), (3, 2)])
def test_definition_with_any_numbers_of_rows(n, m, kernel):
    x, y = rows(n, 3).requires_grad_(), (rows(m, 3, seed=1) + 0.5).requires_grad_()
    value = mmd2(x, y, bandwidths=FIVE, estimator="linear", kernel=kernel)
    expected = by_definition(x, y, FIVE, kernel)
    torch.testing.assert_close(value, expected)
    for got, want in zip(torch.autograd.grad(value, (x, y)), torch.autograd.grad(expected, (x, y))):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("bandwidths", [(1.0,), FIVE])
@pytest.mark.parametrize("n", [32, 128])
def test_mean_is_zero_under_the_null(n, bandwidths):
    draws, d = 200, 4
    pairs = [(rows(n, d, seed=2 * i), rows(n + 5, d, seed=2 * i + 1)) for i in range(draws)]
    values = torch.stack([mmd2(x, y, bandwidths=bandwidths, estimator="linear") for x, y in pairs])
    assert abs(values.mean().item()) < 2 * values.std().item() / math.sqrt(draws)
    assert 0.3 < (values < 0).double().mean() < 0.7


def test_its_mean_is_that_of_the_unbiased_estimator():
    draws = 200
    pairs = [(rows(40, 3, seed=2 * i), rows(40, 3, seed=2 * i + 1) + 0.6) for i in range(draws)]
    difference = torch.stack(
        [mmd2(x, y, bandwidths=FIVE, estimator="linear") - mmd2(x, y, bandwidths=FIVE) for x, y in pairs]
    )
    assert abs(difference.mean().item()) < 3 * difference.std().item() / math.sqrt(draws)
    assert difference.std() > 0


@pytest.mark.parametrize("kernel", FAMILIES)
def test_equal_rows_give_zero_and_a_finite_gradient(kernel):
    x = torch.ones(6, 2, requires_grad=True)
    value = mmd2(x, x, bandwidths=FIVE, estimator="linear", kernel=kernel)
    value.backward()
    assert value.item() == 0
    assert torch.equal(x.grad, torch.zeros(6, 2))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_an_offset_and_autocast_cost_nothing(dtype):
    x, y = ((rows(40, 8, seed=seed) + 50).to(dtype).requires_grad_() for seed in (0, 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = mmd2(x, y, bandwidths=FIVE, estimator="linear")
    expected = by_definition(x.detach().double(), y.detach().double(), FIVE)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    value.backward()
    assert x.grad.dtype == dtype


def test_many_rows_take_linear_memory():
    x, y = rows(400_000, 2, dtype=torch.float32), rows(400_000, 2, seed=1, dtype=torch.float32)
    assert abs(mmd2(x, y, bandwidths=[1.0], estimator="linear").item()) < 0.01  # a matrix would be 640 GB


def test_weights_and_single_rows_are_refused():
    with pytest.raises(ValueError, match="the linear estimator takes none"):
        mmd2(rows(4, 2), rows(4, 2), bandwidths=[1.0], estimator="linear", x_weight=torch.ones(4))
    with pytest.raises(ValueError, match=r"y has 1 row\(s\); the linear estimator needs 2"):
        mmd2(rows(4, 2), rows(1, 2), bandwidths=[1.0], estimator="linear")
