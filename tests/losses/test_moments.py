"""Distances of moments against float64 loops, closed forms of known moments, and their invariances."""

import itertools

import numpy as np
import pytest
import torch

from tl_research.losses.feature_norm import stepwise_norm
from tl_research.losses.moments import cmd, homm, mean_discrepancy


def rows(n, d, seed=0, dtype=torch.float64):
    return torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_mean_discrepancy_is_numpys_and_that_of_a_shift():
    x, y = rows(7, 3), rows(5, 3, seed=1)
    assert mean_discrepancy(x, y).item() == pytest.approx(np.linalg.norm(x.numpy().mean(0) - y.numpy().mean(0)))
    assert mean_discrepancy(x, x + torch.tensor([3.0, 0, 4])).item() == pytest.approx(5)


def test_mean_discrepancy_of_two_samples_of_one_distribution_is_as_its_docstring_says():
    values = [
        mean_discrepancy(torch.randn(50, 40, generator=g), torch.randn(100, 40, generator=g)).item()
        for g in (torch.Generator().manual_seed(seed) for seed in range(200))
    ]
    assert np.mean(values) == pytest.approx((40 * (1 / 50 + 1 / 100)) ** 0.5, rel=0.03)


@pytest.mark.parametrize(("moments", "span"), [(1, 1.0), (2, 1.0), (5, 1.0), (5, 2.0)])
def test_cmd_is_its_definition_in_a_loop(moments, span):
    x, y = rows(9, 4).numpy(), 0.5 * rows(6, 4, seed=1).numpy() ** 2
    expected = np.linalg.norm(x.mean(0) - y.mean(0)) / span
    for k in range(2, moments + 1):
        of_x = [np.mean((x[:, j] - x[:, j].mean()) ** k) for j in range(4)]
        of_y = [np.mean((y[:, j] - y[:, j].mean()) ** k) for j in range(4)]
        expected += np.linalg.norm(np.subtract(of_x, of_y)) / span**k
    assert cmd(torch.from_numpy(x), torch.from_numpy(y), moments=moments, span=span).item() == pytest.approx(expected)


def test_cmd_of_known_moments():
    """Coins of {0, 1}: p = 1/2 has c_2 = 1/4, c_3 = 0, c_4 = 1/16; p = 1/4 has c_2 = 3/16, c_3 = 3/32, c_4 = 21/256."""
    fair, other = torch.tensor([[0.0], [1.0]]).double(), torch.tensor([[0.0], [0], [0], [1]]).double()
    expected = 1 / 4 + (1 / 4 - 3 / 16) + 3 / 32 + abs(1 / 16 - 21 / 256)
    assert cmd(fair, other, moments=4).item() == pytest.approx(expected)


def test_cmd_of_a_shift_is_the_shift():
    x = rows(20, 3)
    assert cmd(x, x + torch.tensor([0.3, 0, 0.4]), moments=5).item() == pytest.approx(0.5)
    assert cmd(x, x.flip(0)).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_homm_by_inner_products_is_that_of_the_whole_tensors(order):
    x, y = rows(8, 3).numpy(), rows(5, 3, seed=1).numpy() - 0.3
    entries = [
        (np.prod(x[:, list(place)], axis=1).mean() - np.prod(y[:, list(place)], axis=1).mean()) ** 2
        for place in itertools.product(range(3), repeat=order)
    ]
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    assert homm(x, y, order=order).item() == pytest.approx(np.mean(entries))
    every = torch.tensor(list(itertools.product(range(3), repeat=order)))
    assert homm(x, y, order=order, places=every).item() == pytest.approx(np.mean(entries))


def test_homm_of_sampled_entries_is_right_in_the_mean():
    x, y = rows(30, 6), rows(40, 6, seed=1).square()
    places = torch.randint(6, (40_000, 3), generator=torch.Generator().manual_seed(0))
    assert homm(x, y, places=places).item() == pytest.approx(homm(x, y).item(), rel=0.03)


def test_homm_of_order_one_is_the_squared_distance_of_means():
    x, y = rows(8, 3), rows(5, 3, seed=1)
    assert homm(x, y, order=1).item() == pytest.approx(mean_discrepancy(x, y).item() ** 2 / 3)


@pytest.mark.parametrize("loss", [mean_discrepancy, cmd, homm])
def test_gradients_symmetry_and_precision(loss):
    x, y = rows(5, 3).requires_grad_(), (rows(6, 3, seed=1) + 0.5).requires_grad_()
    assert torch.autograd.gradcheck(loss, (x, y))
    torch.testing.assert_close(loss(x, y), loss(y, x))
    x, y = x.detach().float(), y.detach().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss(x, y), loss(x.clone(), y.clone()))
        assert loss(x.bfloat16(), y.bfloat16()).dtype == torch.float32
        inside = loss(x, y)
    assert inside.item() == loss(x, y).item()
    with pytest.raises(ValueError, match=r"\(5, 3\) and \(6, 2\)"):
        loss(x, y[:, :2])
    with pytest.raises(ValueError, match=r"target has 0 row\(s\)"):
        loss(x, y[:0])


@pytest.mark.parametrize("loss", [mean_discrepancy, cmd])
def test_equal_samples_have_a_gradient_that_is_a_number(loss):
    x = rows(5, 3).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x, x.detach().clone()), x)
    assert torch.isfinite(gradient).all()


def test_stepwise_norm_is_constant_and_lets_every_norm_grow_alike():
    x = rows(6, 4).requires_grad_()
    value = stepwise_norm(x, step=0.7)
    (gradient,) = torch.autograd.grad(value, x)
    assert value.item() == pytest.approx(0.49)
    torch.testing.assert_close(gradient, -2 * 0.7 * x.detach() / x.detach().norm(dim=1, keepdim=True) / 6)
    zero = torch.zeros(2, 3, requires_grad=True)
    assert torch.equal(torch.autograd.grad(stepwise_norm(zero), zero)[0], torch.zeros(2, 3))
    with pytest.raises(ValueError, match="step -1"):
        stepwise_norm(x, step=-1)


def test_bounds_are_refused():
    x = rows(5, 2)
    with pytest.raises(ValueError, match="moments=0"):
        cmd(x, x, moments=0)
    with pytest.raises(ValueError, match=r"places \(4, 2\)"):
        homm(x, x, places=torch.zeros(4, 2, dtype=torch.long))
