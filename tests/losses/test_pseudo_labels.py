"""Pseudo labels, thresholds, neighbours, consistency and ramps against loops and closed forms."""

import math

import pytest
import torch
import torch.nn.functional as F

from tl_research.losses.consistency import squared_gap
from tl_research.losses.neighbourhood import neighbourhood_scores, sharpened_scores, weighted_cross_entropy
from tl_research.losses.pseudo_labels import (
    aligned,
    class_balanced,
    class_thresholds,
    confident,
    relative_threshold,
    selected_cross_entropy,
)
from tl_research.losses.ramps import half_cosine_ramp, linear_ramp, sigmoid_ramp


def rows(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def probabilities(n, classes, seed=0):
    return (2 * rows(n, classes, seed)).softmax(dim=1)


def test_a_label_is_taken_from_its_threshold_on():
    p = torch.tensor([[0.2, 0.8], [0.5, 0.5], [0.95, 0.05]], requires_grad=True)
    label, taken = confident(p, 0.8)
    assert label.tolist() == [1, 0, 0]
    assert taken.tolist() == [True, False, True]
    assert not label.requires_grad
    assert confident(p, torch.tensor([0.9, 0.5, 0.9]))[1].tolist() == [False, True, True]


def test_selected_cross_entropy_is_over_all_rows():
    z, label = rows(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    taken = torch.tensor([True, False, True, False, False, True])
    loss = F.cross_entropy(z, label, reduction="none")
    expected = sum(loss[i].item() for i in (0, 2, 5)) / 6
    assert selected_cross_entropy(z, label, taken).item() == pytest.approx(expected)
    z.requires_grad_()
    selected_cross_entropy(z, label, taken).backward()
    assert (z.grad.abs().sum(dim=1) > 0).tolist() == taken.tolist()
    with pytest.raises(ValueError, match="wants"):
        selected_cross_entropy(z, label[:2], taken)


def test_weighted_cross_entropy_is_the_mean_by_weights():
    z, label, weight = rows(5, 3), torch.tensor([0, 1, 2, 0, 1]), torch.tensor([0.1, 2.0, 0.0, 1.0, 0.5])
    expected = (weight * F.cross_entropy(z, label, reduction="none")).sum() / weight.sum()
    torch.testing.assert_close(weighted_cross_entropy(z, label, weight), expected.double())
    torch.testing.assert_close(weighted_cross_entropy(z, label, 7 * weight), expected.double())
    assert weighted_cross_entropy(z, label, 0 * weight).item() == 0
    with pytest.raises(ValueError, match="wants"):
        weighted_cross_entropy(z, label[:2], weight)


@pytest.mark.parametrize("portion", [0.1, 0.2, 0.5, 1.0])
def test_class_thresholds_take_the_portion_of_every_class(portion):
    p = probabilities(200, 4)
    p = torch.cat([p, p[p.argmax(dim=1) == 0]])  # unequal classes, with ties
    threshold = class_thresholds(p, portion)
    best, label = p.max(dim=1)
    for c in range(4):
        ordered = sorted(best[label == c].tolist(), reverse=True)
        assert threshold[c].item() == ordered[math.ceil(portion * len(ordered) - 1e-9) - 1]
    if portion == 1:
        assert class_balanced(p, threshold)[1].all()


def test_a_class_that_nobody_predicts_has_threshold_one():
    p = torch.tensor([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1]])
    assert class_thresholds(p, 0.5).tolist() == pytest.approx([0.7, 1, 1])
    assert class_thresholds(torch.zeros(0, 3), 0.5).tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="portion 0"):
        class_thresholds(p, 0)


def test_class_balanced_labels_prefer_the_class_that_is_seldom_sure():
    p, threshold = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.75, 0.25]]), torch.tensor([0.9, 0.4])
    label, taken = class_balanced(p, threshold)
    assert label.tolist() == [1, 0, 0]
    assert taken.tolist() == [True, True, False]
    equal, above = class_balanced(p, torch.tensor([0.7, 0.7]))
    assert equal.tolist() == p.argmax(dim=1).tolist()
    assert above.tolist() == [False, True, True]


def test_alignment_gives_the_source_shares():
    p, source = probabilities(50, 3), torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    moved = aligned(p, p.mean(dim=0), source)
    torch.testing.assert_close(moved.sum(dim=1), torch.ones(50, dtype=torch.float64))
    torch.testing.assert_close(aligned(p, source, source), p)
    # Certain rows stay, and rows that are all alike get the source's shares.
    torch.testing.assert_close(aligned(torch.eye(3).double(), source, source.flip(0)), torch.eye(3).double())
    alike = torch.tensor([[0.6, 0.3, 0.1]], dtype=torch.float64)
    torch.testing.assert_close(aligned(alike, alike[0], source)[0], source)


def test_relative_threshold():
    p = torch.tensor([[0.9, 0.1], [0.3, 0.7]])
    assert relative_threshold(p, 0.9).item() == pytest.approx(0.9 * 0.8)


def test_squared_gap_by_a_loop():
    p, q = probabilities(4, 3), probabilities(4, 3, seed=1)
    taken = torch.tensor([True, False, True, True])
    total = sum((p[i, c] - q[i, c]).item() ** 2 for i in range(4) for c in range(3) if taken[i])
    assert squared_gap(p, q, taken).item() == pytest.approx(total / 12)
    assert squared_gap(p, p).item() == 0
    assert squared_gap(torch.eye(2), torch.eye(2).flip(0)).item() == pytest.approx(1)
    with pytest.raises(ValueError, match="wants"):
        squared_gap(p, q[:2])


def test_neighbours_by_a_loop():
    x, keys, scores = rows(6, 3), F.normalize(rows(20, 3, seed=1), dim=1), probabilities(20, 4, seed=2)
    own = torch.tensor([3, 4, 5, -1, 0, 19])
    found = neighbourhood_scores(x, own, keys, scores, neighbours=5)
    for i in range(6):
        cosine = [(torch.dot(x[i], keys[j]) / x[i].norm()).item() for j in range(20)]
        nearest = sorted((j for j in range(20) if j != own[i]), key=lambda j: -cosine[j])[:5]
        torch.testing.assert_close(found[i], torch.stack([scores[j] for j in nearest]).mean(dim=0))
    torch.testing.assert_close(neighbourhood_scores(9 * x, own, keys, scores, neighbours=5), found)
    everyone = neighbourhood_scores(x, torch.full((6,), 7), keys, scores, neighbours=100)
    torch.testing.assert_close(everyone, scores[torch.arange(20) != 7].mean(dim=0).expand(6, 4))


def test_neighbours_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match=r"\(2, 3\), \(4, 2\)"):
        neighbourhood_scores(torch.zeros(2, 3), torch.zeros(2).long(), torch.zeros(4, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="1 keys"):
        neighbourhood_scores(torch.zeros(2, 3), torch.zeros(2).long(), torch.zeros(1, 3), torch.zeros(1, 2))


def test_sharpened_scores():
    p = probabilities(5, 3)
    expected = [[p[i, c].item() ** 2 / sum(v**2 for v in p[:, c].tolist()) for c in range(3)] for i in range(5)]
    torch.testing.assert_close(sharpened_scores(p), torch.tensor(expected, dtype=torch.float64))
    assert sharpened_scores(torch.tensor([[1.0, 0.0]])).tolist() == [[1, 0]]


def test_ramps():
    assert [linear_ramp(p, 0.1, 0.6) for p in (0, 0.1, 0.35, 0.6, 1)] == pytest.approx([0, 0, 0.5, 1, 1])
    assert [linear_ramp(p, 0.5, 0.5) for p in (0.4, 0.5)] == [0, 1]
    assert [sigmoid_ramp(p, 0.5) for p in (0, 0.25, 0.5, 1)] == pytest.approx([math.exp(-5), math.exp(-1.25), 1, 1])
    assert sigmoid_ramp(0, 0) == 1
    assert [half_cosine_ramp(p) for p in (0, 0.25, 0.5, 1)] == pytest.approx([0, 0.5, 1, 1])
