"""Joint MMD against the product of dense kernel matrices, and against what only a joint statistic sees."""

import pytest
import torch

from tests.kernels.dense import dense_mmd2
from tl_research.kernels import joint_mmd2, mmd2
from tl_research.kernels.kernel import FAMILIES

BANDWIDTHS = [(0.7, 1.5), (1.0,), (0.5, 1.0, 2.0)]


def rows(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(n, seed):
    return torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layers(n, seed, shift=0.0):
    return [(rows(n, d, seed=seed + d) + shift).requires_grad_() for d in (3, 1, 5)]


@pytest.mark.parametrize("kernel", FAMILIES)
@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_value_and_gradients_by_the_dense_product(estimator, kernel):
    x, y = layers(7, 0), layers(5, 10, shift=0.3)
    p, q = uniform(7, seed=91).requires_grad_(), uniform(5, seed=92).requires_grad_()
    names = {"estimator": estimator, "x_weight": p, "y_weight": q, "kernel": kernel}
    value = joint_mmd2(x, y, bandwidths=BANDWIDTHS, **names)
    expected = dense_mmd2(x, y, BANDWIDTHS, **names)
    torch.testing.assert_close(value, expected)
    found, wanted = (torch.autograd.grad(v, (*x, *y, p, q)) for v in (value, expected))
    for got, want in zip(found, wanted):
        torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-10)


def test_one_layer_is_mmd2():
    x, y = rows(6, 3), rows(8, 3, seed=1)
    torch.testing.assert_close(joint_mmd2([x], [y], bandwidths=[[1.0, 2.0]]), mmd2(x, y, bandwidths=[1.0, 2.0]))


def test_gaussians_of_two_layers_are_one_gaussian_of_both():
    x, y = [rows(6, 3), rows(6, 2, seed=1)], [rows(8, 3, seed=2), rows(8, 2, seed=3)]
    together = mmd2(torch.cat(x, dim=1), torch.cat(y, dim=1), bandwidths=[1.3])
    torch.testing.assert_close(joint_mmd2(x, y, bandwidths=[[1.3], [1.3]]), together)


def test_a_dependence_that_the_margins_do_not_show_is_seen():
    a, b = rows(300, 1), rows(300, 1, seed=1)
    independent = [rows(300, 1, seed=2), rows(300, 1, seed=3)]
    dependent = [a, a + 0.01 * b]
    joint = joint_mmd2(dependent, independent, bandwidths=[[0.5], [0.5]])
    margins = [mmd2(u, v, bandwidths=[0.5]) for u, v in zip(dependent, independent)]
    assert joint > 10 * max(margins)


def test_class_weights():
    x, y = layers(6, 0), layers(6, 10)
    p = torch.eye(2, dtype=torch.float64)[[0, 0, 0, 1, 1, 1]]
    value = joint_mmd2(x, y, bandwidths=BANDWIDTHS, x_weight=p, y_weight=p)
    expected = sum(dense_mmd2(x, y, BANDWIDTHS, x_weight=p[:, c], y_weight=p[:, c]) for c in (0, 1)) / 2
    torch.testing.assert_close(value, expected)


def test_detach():
    x, y = layers(6, 0), layers(6, 10)
    grads = torch.autograd.grad(joint_mmd2(x, y, bandwidths=BANDWIDTHS, detach="y"), (*x, *y), allow_unused=True)
    assert [grad is None for grad in grads] == [False] * 3 + [True] * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": [torch.zeros(3, 2)]}, r"got 2 layer\(s\) of x and 1 of y"),
        ({"x": [torch.zeros(3, 2), torch.zeros(4, 5)]}, "layers of 4 and 3 rows beside 3 and 3"),
        ({"bandwidths": [[1.0]]}, "got 1 of them for 2 layers"),
        ({"estimator": "linear"}, "estimator: got 'linear'"),
        ({"detach": "both"}, "joint_mmd2: detach: got 'both'"),
        ({"x": [], "y": [], "bandwidths": []}, "at least one"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    two = [torch.zeros(3, 2), torch.zeros(3, 5)]
    given = {"x": two, "y": two, "bandwidths": [[1.0], [1.0]], **arguments}
    with pytest.raises(ValueError, match=message):
        joint_mmd2(given.pop("x"), given.pop("y"), **given)
