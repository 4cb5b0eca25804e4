"""Semantic alignment against a loop over pairs, and where it has no gradient."""

import math

import pytest
import torch

from tl_research.losses.semantic_alignment import semantic_alignment


def test_by_a_loop():
    generator = torch.Generator().manual_seed(0)
    source, target = (torch.randn(n, 4, generator=generator, dtype=torch.float64) for n in (7, 5))
    of_source, of_target = torch.tensor([0, 1, 2, 0, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 0])
    total = 0.0
    for x, a in zip(source, of_source):
        for y, b in zip(target, of_target):
            distance = math.dist(x.tolist(), y.tolist())
            total += distance**2 / 2 if a == b else max(0.0, 3.0 - distance) ** 2 / 2
    found = semantic_alignment(source, of_source, target, of_target, margin=3.0)
    assert float(found) == pytest.approx(total / 35, rel=1e-12)


def test_equal_features_of_two_classes_give_a_finite_gradient():
    source = torch.zeros(2, 3, requires_grad=True)
    semantic_alignment(source, torch.tensor([0, 0]), torch.zeros(2, 3), torch.tensor([1, 1])).backward()
    assert torch.isfinite(source.grad).all()


def test_gradient_by_differences():
    source = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    target = torch.randn(3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 0, 1]), torch.tensor([0, 1, 1])
    assert torch.autograd.gradcheck(lambda x, y: semantic_alignment(x, labels[0], y, labels[1]), (source, target))


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="margin 0"):
        semantic_alignment(torch.zeros(2, 3), torch.zeros(2), torch.zeros(2, 3), torch.zeros(2), margin=0)
    with pytest.raises(ValueError, match="source has 0 row"):
        semantic_alignment(torch.zeros(0, 3), torch.zeros(0), torch.zeros(2, 3), torch.zeros(2))
