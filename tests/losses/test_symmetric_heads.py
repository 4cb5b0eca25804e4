"""Losses of two heads read as one classifier, by loops over its 2K probabilities."""

import math

import pytest
import torch

from tl_research.losses.symmetric_heads import category_confusion, domain_confusion, domain_of_heads, joint_logits

CLASSES = 3


def logits(n, seed):
    return 2 * torch.randn(n, CLASSES, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def probabilities(one, other):
    return torch.cat([one, other], dim=1).softmax(dim=1).tolist()


def test_domain_and_its_confusion_by_loops():
    source, target = (logits(4, 0), logits(4, 1)), (logits(5, 2), logits(5, 3))
    p, q = probabilities(*source), probabilities(*target)
    expected = -sum(math.log(sum(row[:CLASSES])) for row in p) / 4
    expected -= sum(math.log(sum(row[CLASSES:])) for row in q) / 5
    assert domain_of_heads(source, target).item() == pytest.approx(expected)
    confused = -sum(math.log(sum(row[:CLASSES])) + math.log(sum(row[CLASSES:])) for row in q) / 10
    assert domain_confusion(*target).item() == pytest.approx(confused)


def test_category_confusion_by_a_loop():
    one, other, label = logits(4, 4), logits(4, 5), torch.tensor([2, 0, 1, 1])
    rows = probabilities(one, other)
    expected = -sum(math.log(p[y]) + math.log(p[y + CLASSES]) for p, y in zip(rows, label.tolist())) / 8
    assert category_confusion(one, other, label).item() == pytest.approx(expected)


def test_equal_heads_are_confused_and_know_no_domain():
    one = logits(4, 6)
    assert domain_confusion(one, one).item() == pytest.approx(math.log(2))
    assert domain_of_heads((one, one), (one, one)).item() == pytest.approx(2 * math.log(2))
    certain = 1000 * torch.eye(CLASSES, dtype=torch.float64)
    assert category_confusion(certain, certain, torch.arange(CLASSES)).item() == pytest.approx(math.log(2))


def test_joint_logits_have_the_summed_probabilities():
    one, other = logits(4, 7), logits(4, 8)
    p = torch.tensor(probabilities(one, other), dtype=torch.float64)
    torch.testing.assert_close(joint_logits(one, other).softmax(dim=1), p[:, :CLASSES] + p[:, CLASSES:])


def test_heads_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"log_shares: got \(2, 3\) and \(3, 3\)"):
        domain_confusion(logits(2, 0), logits(3, 0))
