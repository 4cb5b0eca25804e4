"""Features by what their class is read from, row by row."""

import pytest
import torch

from tl_research.losses.task_oriented import task_oriented


def test_a_row_is_its_product_at_its_own_length():
    generator = torch.Generator().manual_seed(0)
    f, w = (torch.randn(4, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    found = task_oriented(f, w)
    for row, slope, value in zip(f, w, found):
        product = row * slope
        torch.testing.assert_close(value, product * row.norm() / product.norm())
    torch.testing.assert_close(task_oriented(f, torch.full_like(f, 7.0)), f)


def test_the_slope_is_constant_and_rows_of_zeros_stay_finite():
    f, w = torch.zeros(2, 3, requires_grad=True), torch.ones(2, 3, requires_grad=True)
    value = task_oriented(f, w)
    value.sum().backward()
    assert torch.equal(value, torch.zeros(2, 3))
    assert f.grad.isfinite().all()
    assert w.grad is None
    with pytest.raises(ValueError, match="task_oriented"):
        task_oriented(torch.zeros(2, 3), torch.zeros(2, 2))
