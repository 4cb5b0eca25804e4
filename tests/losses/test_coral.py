"""CORAL against numpy's covariance, its closed forms and its invariances."""

import numpy as np
import pytest
import torch

from tl_research.losses.coral import coral


def rows(n, d, seed=0, dtype=torch.float64):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize(("n", "m", "d"), [(10, 10, 4), (7, 20, 3), (2, 9, 6), (12, 5, 1)])
def test_agrees_with_numpy(n, m, d):
    x, y = rows(n, d), 2 * rows(m, d, seed=1) + 1
    difference = np.atleast_2d(np.cov(x.numpy().T)) - np.atleast_2d(np.cov(y.numpy().T))
    assert coral(x, y).item() == pytest.approx((difference**2).sum() / (4 * d**2), rel=1e-12)


def test_closed_form_of_a_scaled_copy():
    """C_T = s² C_S, so the loss is (s² - 1)² ||C_S||² / (4 d²)."""
    x = rows(30, 5)
    norm = torch.cov(x.T).square().sum().item()
    assert coral(x, 3 * x).item() == pytest.approx((9 - 1) ** 2 * norm / 100, rel=1e-12)
    assert coral(x, -x).item() == pytest.approx(0, abs=1e-15)


def test_invariances():
    x, y = rows(20, 4), rows(15, 4, seed=1) * torch.tensor([1.0, 2, 3, 4])
    rotation = torch.linalg.qr(rows(4, 4, seed=2)).Q
    value = coral(x, y)
    torch.testing.assert_close(coral(y, x), value)
    torch.testing.assert_close(coral(x + 50, y - 50), value)
    torch.testing.assert_close(coral(x @ rotation, y @ rotation), value)
    torch.testing.assert_close(coral(x.flip(0), y), value)


def test_an_offset_of_fifty_costs_no_digits_in_float32():
    x, y = rows(64, 8), 1.1 * rows(64, 8, seed=1)
    assert coral((x + 50).float(), (y + 50).float()).item() == pytest.approx(coral(x, y).item(), rel=1e-3)


def test_gradient_of_both_sides():
    x, y = rows(5, 3).requires_grad_(), rows(6, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(coral, (x, y))


def test_float32_inside_autocast():
    x, y = rows(40, 6, dtype=torch.float32), 1.5 * rows(40, 6, seed=1, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = coral(x, y)
        of_half = coral(x.bfloat16(), y.bfloat16())
    assert inside.dtype == of_half.dtype == torch.float32
    assert inside.item() == coral(x, y).item()
    assert of_half.item() == coral(x.bfloat16().float(), y.bfloat16().float()).item()


def test_bad_shapes_are_refused():
    with pytest.raises(ValueError, match=r"target has 1 row\(s\)"):
        coral(rows(5, 2), rows(1, 2))
    with pytest.raises(ValueError, match=r"\(5, 2\) and \(5, 3\)"):
        coral(rows(5, 2), rows(5, 3))
