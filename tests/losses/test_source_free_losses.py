"""Information, centroids and neighbours against their formulas in float64 loops and their limits."""

import math

import pytest
import torch

from tl_research.losses.source_free import (
    agreement,
    centroid_labels,
    entropy_of_mean,
    information_maximisation,
    neighbour_places,
)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_information_is_certainty_less_variety():
    logits = drawn(7, 3)
    p = logits.softmax(dim=1)
    certainty = sum(-sum(float(v) * math.log(float(v)) for v in row) for row in p) / 7
    mean = [float(p[:, c].mean()) for c in range(3)]
    variety = -sum(v * math.log(v) for v in mean)
    assert entropy_of_mean(logits).item() == pytest.approx(variety, rel=1e-12)
    assert information_maximisation(logits).item() == pytest.approx(certainty - variety, rel=1e-12)


def test_information_in_its_limits():
    certain = 1e4 * torch.eye(4, dtype=torch.float64).repeat(3, 1)
    assert information_maximisation(certain).item() == pytest.approx(-math.log(4), rel=1e-12)
    assert information_maximisation(torch.zeros(5, 4)).item() == pytest.approx(0, abs=1e-6)
    alike = certain[:1].repeat(6, 1).requires_grad_()
    information_maximisation(alike).backward()
    assert alike.grad.isfinite().all()
    with pytest.raises(ValueError, match="wants"):
        entropy_of_mean(torch.zeros(0, 3))


def by_hand(features: torch.Tensor, probability: torch.Tensor, rounds: int) -> list[int]:
    """Equations 4 to 6 of SHOT, row by row."""
    rows = [[*map(float, row), 1.0] for row in features]
    rows = [[v / math.sqrt(sum(x * x for x in row)) for v in row] for row in rows]
    weights = [[float(v) for v in row] for row in probability]
    for _ in range(rounds + 1):
        centroids = {}
        for k in range(probability.shape[1]):
            mass = sum(weight[k] for weight in weights)
            if mass:
                centre = [sum(w[k] * row[j] for w, row in zip(weights, rows, strict=True)) for j in range(len(rows[0]))]
                length = math.sqrt(sum(v * v for v in centre))
                centroids[k] = [v / length for v in centre]
        nearness = [{k: sum(a * b for a, b in zip(row, c, strict=True)) for k, c in centroids.items()} for row in rows]
        label = [max(near, key=near.get) for near in nearness]
        weights = [[float(k == own) for k in range(probability.shape[1])] for own in label]
    return label


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_centroid_labels_against_loops(rounds):
    features, probability = drawn(20, 4), drawn(20, 3, seed=1).softmax(dim=1)
    assert centroid_labels(features, probability, rounds=rounds).tolist() == by_hand(features, probability, rounds)


def test_a_class_without_rows_gets_none():
    features = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    probability = torch.tensor([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.2, 0.8, 0.0], [0.1, 0.9, 0.0]])
    assert centroid_labels(features, probability).tolist() == [0, 0, 1, 1]
    with pytest.raises(ValueError, match="rounds"):
        centroid_labels(features, probability, rounds=-1)
    with pytest.raises(ValueError, match="wants"):
        centroid_labels(features, probability[:2])


def test_centroids_mend_labels_of_a_model_that_is_off():
    """Two clusters; a model that calls a third of the second one wrongly has the rest to go by."""
    centre = torch.tensor([[3.0, 0.0], [0.0, 3.0]]).repeat_interleave(30, dim=0)
    features = centre + 0.3 * drawn(60, 2).float()
    probability = torch.tensor([[0.9, 0.1]]).repeat(60, 1)
    probability[40:] = torch.tensor([0.1, 0.9])
    assert centroid_labels(features, probability).tolist() == [0] * 30 + [1] * 30


def test_neighbours_leave_their_own_row_out():
    keys = drawn(9, 3)
    own = torch.tensor([4, 0, 8])
    found = neighbour_places(keys[own], own, keys, neighbours=3)
    for row, place in enumerate(own.tolist()):
        cosine = torch.nn.functional.cosine_similarity(keys[place][None], keys, dim=1)
        wanted = sorted((k for k in range(9) if k != place), key=lambda k: -cosine[k])[:3]
        assert found[row].tolist() == wanted
    assert neighbour_places(keys[own], own, keys, neighbours=50).shape == (3, 8)
    for wrong in ({"neighbours": 0}, {"neighbours": 1, "keys": keys[:1]}):
        with pytest.raises(ValueError, match="wants"):
            neighbour_places(keys[own], own, **({"keys": keys} | wrong))


def test_agreement_against_loops():
    p, s, w = drawn(4, 3).softmax(1), drawn(4, 2, 3, seed=1).softmax(2), drawn(4, 2, seed=2).abs()
    wanted = -sum(float(w[i, j]) * float(s[i, j] @ p[i]) for i in range(4) for j in range(2)) / 4
    assert agreement(p, s, w).item() == pytest.approx(wanted, rel=1e-12)
    with pytest.raises(ValueError, match="agreement"):
        agreement(p, s, w[:, :1])
