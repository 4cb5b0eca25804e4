"""Entropy, class confusion and nuclear norm against loops, closed forms and limits."""

import math

import numpy as np
import pytest
import torch

from tl_research.losses.target_probabilities import class_confusion, fast_nuclear_norm, nuclear_norm, row_entropies

LOSSES = [lambda z: row_entropies(z).mean(), class_confusion, nuclear_norm, fast_nuclear_norm]


def logits(n, classes, seed=0, scale=2.0):
    return scale * torch.randn(n, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def certain(label, classes):
    """Logits of rows that are certain of their class."""
    return 1000.0 * torch.eye(classes, dtype=torch.float64)[torch.tensor(label)]


def test_entropy_by_a_loop_and_at_its_ends():
    z = logits(6, 4)
    p = z.softmax(dim=1).tolist()
    expected = [-sum(value * math.log(value) for value in row) for row in p]
    torch.testing.assert_close(row_entropies(z), torch.tensor(expected, dtype=torch.float64))
    assert row_entropies(torch.zeros(3, 5)).tolist() == pytest.approx([math.log(5)] * 3)
    assert row_entropies(certain([0, 2], 3)).tolist() == [0, 0]


def confusion_by_loops(z, temperature):
    n, classes = z.shape
    p = [[math.exp(v / temperature) for v in row] for row in z.tolist()]
    p = [[v / sum(row) for v in row] for row in p]
    certainty = [1 + math.exp(sum(v * math.log(v) for v in row)) for row in p]
    weight = [n * c / sum(certainty) for c in certainty]
    total = 0.0
    for j in range(classes):
        row = [sum(weight[i] * p[i][j] * p[i][k] for i in range(n)) for k in range(classes)]
        total += sum(value for k, value in enumerate(row) if k != j) / sum(row)
    return total / classes


@pytest.mark.parametrize(("n", "classes", "temperature"), [(7, 3, 2.5), (5, 2, 1.0), (1, 4, 0.7)])
def test_class_confusion_by_loops(n, classes, temperature):
    z = logits(n, classes)
    assert class_confusion(z, temperature=temperature).item() == pytest.approx(confusion_by_loops(z, temperature))


def test_class_confusion_at_its_ends():
    assert class_confusion(certain([0, 1, 2, 2], 3)).item() == pytest.approx(0)
    assert class_confusion(torch.zeros(5, 4)).item() == pytest.approx(3 / 4)
    # All rows certain of one class: what little probability the others have is on its rows, rounded to 0 or not.
    for scale in (0.02, 0.1, 1.0):
        assert class_confusion(scale * certain([1, 1], 3)).item() == pytest.approx(2 / 3, abs=1e-3)


def test_the_weights_of_class_confusion_have_no_gradient():
    z = logits(6, 3).requires_grad_()
    (got,) = torch.autograd.grad(class_confusion(z), z)
    p = (z / 2.5).softmax(dim=1)
    h = -(p * p.log()).sum(dim=1).detach()
    weight = len(p) * (1 + torch.exp(-h)) / (1 + torch.exp(-h)).sum()
    c = p.T @ torch.diag(weight) @ p
    c = c / c.sum(dim=1, keepdim=True)
    (expected,) = torch.autograd.grad((c.sum() - c.trace()) / 3, z)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize(("n", "classes"), [(8, 3), (2, 5), (4, 4)])
def test_nuclear_norm_agrees_with_numpy(n, classes):
    z = logits(n, classes)
    values = np.linalg.svd(z.softmax(dim=1).numpy(), compute_uv=False)
    assert nuclear_norm(z).item() == pytest.approx(values.sum() / n)
    lengths = sorted(np.linalg.norm(z.softmax(dim=1).numpy(), axis=0))[::-1][: min(n, classes)]
    assert fast_nuclear_norm(z).item() == pytest.approx(sum(lengths) / n)


def test_nuclear_norms_of_certain_rows():
    """Columns are orthogonal, of length sqrt(n_c): the norm is Σ_c sqrt(n_c)."""
    z = certain([0, 0, 0, 0, 1, 2, 2, 2, 2], 4)
    expected = (math.sqrt(4) + 1 + math.sqrt(4)) / 9
    assert nuclear_norm(z).item() == pytest.approx(expected)
    assert fast_nuclear_norm(z).item() == pytest.approx(expected)
    assert nuclear_norm(certain([0, 1, 2, 3], 4)).item() == pytest.approx(1)  # the largest there is
    assert nuclear_norm(certain([0] * 9, 4)).item() == pytest.approx(3 / 9)  # one class: sqrt(9)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_invariances_and_extremes(loss):
    z = logits(5, 3).requires_grad_()
    if loss is not class_confusion:  # its weights are held fast
        assert torch.autograd.gradcheck(loss, (z,))
    torch.testing.assert_close(loss(z.flip(0)), loss(z))
    torch.testing.assert_close(loss(z[:, [2, 0, 1]]), loss(z))
    torch.testing.assert_close(loss(z + 7), loss(z))
    extreme = certain([0, 0, 1], 3).float().requires_grad_()
    value = loss(extreme)
    value.backward()
    assert math.isfinite(value.item())
    assert extreme.grad.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES)
def test_float32_inside_autocast(loss):
    z = logits(16, 3).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside, of_half = loss(z), loss(z.bfloat16())
    assert inside.dtype == of_half.dtype == torch.float32
    assert inside.item() == loss(z).item()
    assert of_half.item() == loss(z.bfloat16().float()).item()


def test_what_is_no_table_is_refused():
    for function in (row_entropies, class_confusion, nuclear_norm, fast_nuclear_norm):
        with pytest.raises(ValueError, match=rf"{function.__name__}: got \(4,\)"):
            function(torch.zeros(4))
    for function in (class_confusion, nuclear_norm, fast_nuclear_norm):
        with pytest.raises(ValueError, match="got no rows"):
            function(torch.zeros(0, 3))
    with pytest.raises(ValueError, match="temperature 0"):
        class_confusion(torch.zeros(2, 2), temperature=0)
