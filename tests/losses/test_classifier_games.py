"""Discrepancy of two classifiers and margin disparity against loops, closed forms and limits."""

import math

import pytest
import torch
from torch import nn

from tl_research.losses.classifier_games import classifier_discrepancy, margin_disparity


def logits(n, classes, seed):
    return 2 * torch.randn(n, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_discrepancy_is_the_mean_absolute_difference_of_probabilities():
    one, other = logits(5, 3, 0), logits(5, 3, 1)
    p, q = one.softmax(dim=1).tolist(), other.softmax(dim=1).tolist()
    expected = sum(abs(a - b) for r, s in zip(p, q) for a, b in zip(r, s)) / 15
    assert classifier_discrepancy(one, other).item() == pytest.approx(expected)


def test_discrepancy_of_equal_classifiers_is_0_and_of_opposite_ones_2_over_classes():
    one = logits(5, 3, 0)
    assert classifier_discrepancy(one, one + 7).item() == pytest.approx(0, abs=1e-12)
    certain = 1000 * torch.eye(4)
    assert classifier_discrepancy(certain, certain.roll(1, dims=1)).item() == pytest.approx(2 / 4)


def test_margin_disparity_by_a_loop():
    source, target = logits(4, 3, 0), logits(6, 3, 1)
    of_source, of_target = torch.tensor([0, 2, 1, 1]), torch.tensor([2, 0, 0, 1, 2, 1])
    agree = [-math.log(p[y]) for p, y in zip(source.softmax(dim=1).tolist(), of_source.tolist())]
    differ = [-math.log(1 - p[y]) for p, y in zip(target.softmax(dim=1).tolist(), of_target.tolist())]
    for margin in (1.0, 4.0):
        expected = margin * sum(agree) / 4 + sum(differ) / 6
        found = margin_disparity(source, of_source, target, of_target, margin=margin)
        assert found.item() == pytest.approx(expected)


def test_on_equal_domains_the_best_auxiliary_head_is_at_the_margin():
    """The first order condition of γ ln σ + ln(1 - σ): σ = γ / (1 + γ)."""
    best = nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer = torch.optim.LBFGS([best], max_iter=100)
    label = torch.zeros(1, dtype=torch.long)

    def closure():
        optimizer.zero_grad()
        row = torch.stack([best, torch.zeros_like(best)])[None]
        value = margin_disparity(row, label, row, label, margin=4.0)
        value.backward()
        return value

    value = optimizer.step(closure)
    assert torch.sigmoid(best).item() == pytest.approx(4 / 5, abs=1e-5)
    assert closure().item() == pytest.approx(4 * math.log(5 / 4) + math.log(5), abs=1e-8)
    assert value.item() > closure().item()


def test_a_head_that_is_certain_has_a_finite_gradient():
    z = torch.tensor([[200.0, 0.0]], requires_grad=True)
    label = torch.tensor([0])
    value = margin_disparity(z, label, z, label)
    value.backward()
    assert value.item() == pytest.approx(200)
    assert z.grad[0].tolist() == pytest.approx([1, -1])


def test_arguments_out_of_bounds_are_refused():
    z, label = logits(2, 2, 0), torch.tensor([0, 1])
    with pytest.raises(ValueError, match="got margin 0"):
        margin_disparity(z, label, z, label, margin=0)
    with pytest.raises(ValueError, match="two or more classes"):
        margin_disparity(z[:, :1], label, z[:, :1], label)
    with pytest.raises(ValueError, match=r"classifier_discrepancy: got \(2, 2\) and \(1, 2\)"):
        classifier_discrepancy(z, z[:1])
