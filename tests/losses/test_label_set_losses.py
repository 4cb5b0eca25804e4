"""Losses of label sets that differ, against their formulas in float64 loops and their limits."""

import math

import pytest
import torch

from tl_research.losses.label_sets import (
    class_shares,
    entropy_separation,
    neighbourhood_entropy,
    unknown_bce,
    with_unknown_logit,
)
from tl_research.nn.cosine import CosineHead


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.nn.functional.normalize(drawn(*shape, seed=seed), dim=1)


def softmax(row: list[float]) -> list[float]:
    exponentials = [math.exp(value) for value in row]
    return [value / sum(exponentials) for value in exponentials]


# pada


def test_shares_of_classes_are_mean_predictions_over_the_largest():
    p = drawn(6, 4).softmax(dim=1)
    means = [sum(float(row[c]) for row in p) / 6 for c in range(4)]
    expected = [mean / max(means) for mean in means]
    assert class_shares(p).tolist() == pytest.approx(expected, rel=1e-12)
    assert class_shares(p.sum(dim=0)).tolist() == pytest.approx(expected, rel=1e-12)


def test_shares_have_no_gradient_and_take_a_class_without_rows():
    p = torch.tensor([[1.0, 0.0], [1.0, 0.0]], requires_grad=True)
    shares = class_shares(p)
    assert shares.tolist() == [1.0, 0.0]
    assert not shares.requires_grad


# osbp


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_unknown_bce_is_the_formula_row_by_row(share):
    logits = 2 * drawn(7, 4)
    total = 0.0
    for row in logits:
        u = softmax([float(value) for value in row])[-1]
        total -= share * math.log(u) + (1 - share) * math.log(1 - u)
    assert unknown_bce(logits, share=share).item() == pytest.approx(total / 7, rel=1e-12)


def test_unknown_bce_is_least_on_the_border_and_finite_far_from_it():
    on_border = torch.tensor([[0.0, 0.0, math.log(2.0)]], dtype=torch.float64, requires_grad=True)
    loss = unknown_bce(on_border)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2.0), rel=1e-12)
    assert on_border.grad.abs().max() < 1e-12
    far = torch.tensor([[0.0, 0.0, 1e4], [0.0, 0.0, -1e4]], requires_grad=True)
    unknown_bce(far).backward()
    assert far.grad.isfinite().all()
    with pytest.raises(ValueError, match="wants"):
        unknown_bce(torch.zeros(3, 1))


# dance


def neighbours_by_hand(f, place, memory, prototypes, temperature) -> float:
    keys = [[float(v) for v in row] for row in memory]
    for i, own in enumerate(place.tolist()):
        keys[own] = [float(v) for v in f[i]]
    keys += [[float(v) for v in row] for row in prototypes]
    total = 0.0
    for i, own in enumerate(place.tolist()):
        near = [
            sum(float(a) * b for a, b in zip(f[i], key, strict=True)) / temperature
            for j, key in enumerate(keys)
            if j != own
        ]
        total -= sum(p * math.log(p) for p in softmax(near))
    return total / len(f)


def test_neighbourhood_entropy_is_the_formula_row_by_row():
    f, memory, prototypes = unit(3, 5, seed=1), unit(7, 5, seed=2), unit(2, 5, seed=3)
    place = torch.tensor([4, 0, 6])
    found = neighbourhood_entropy(f, place, memory, prototypes, temperature=0.3)
    assert found.item() == pytest.approx(neighbours_by_hand(f, place, memory, prototypes, 0.3), rel=1e-12)


def test_neighbourhood_entropy_reads_no_stale_row_of_the_batch_and_moves_rows_and_prototypes():
    f, memory, prototypes = unit(3, 5, seed=1).requires_grad_(), unit(7, 5, seed=2), unit(2, 5, seed=3).requires_grad_()
    place, other = torch.tensor([4, 0, 6]), memory.clone()
    other[place] = -other[place]
    one, two = (neighbourhood_entropy(f, place, rows, prototypes) for rows in (memory, other))
    assert one.item() == two.item()
    one.backward()
    assert f.grad.isfinite().all()
    assert f.grad.abs().sum() > 0
    assert prototypes.grad.abs().sum() > 0
    assert torch.autograd.gradcheck(
        lambda rows: neighbourhood_entropy(rows, place, memory, prototypes.detach(), temperature=0.3), (f,)
    )


def test_neighbourhood_entropy_in_its_limits():
    alike = unit(1, 5).repeat(4, 1)
    found = neighbourhood_entropy(alike[:2], torch.tensor([0, 1]), alike, alike[:2])
    assert found.item() == pytest.approx(math.log(5))  # three other rows and two prototypes
    with pytest.raises(ValueError, match="wants"):
        neighbourhood_entropy(alike, torch.tensor([0]), alike, alike)
    with pytest.raises(ValueError, match="temperature"):
        neighbourhood_entropy(alike[:1], torch.tensor([0]), alike, alike, temperature=0.0)


def test_entropy_separation_is_the_formula_row_by_row():
    entropy = torch.tensor([0.0, 0.4, 0.9, 1.1, 1.9], dtype=torch.float64)
    expected = -sum(abs(float(h) - 1.0) for h in entropy if abs(float(h) - 1.0) > 0.5) / 5
    assert entropy_separation(entropy, threshold=1.0).item() == pytest.approx(expected, rel=1e-12)


def test_entropy_separation_pushes_each_side_away_and_leaves_the_middle_alone():
    entropy = torch.tensor([0.2, 0.9, 1.8], requires_grad=True)
    entropy_separation(entropy, threshold=1.0).backward()
    assert entropy.grad.tolist() == pytest.approx([1 / 3, 0.0, -1 / 3])  # descent lowers the first, raises the last


def test_unknown_wins_exactly_where_the_entropy_is_above_the_threshold():
    logits = 3 * drawn(200, 4)
    threshold = 0.7
    found = with_unknown_logit(logits, threshold=threshold)
    assert torch.equal(found[:, :-1], logits)
    for row, place in zip(logits, found.argmax(dim=1).tolist(), strict=True):
        p = softmax([float(value) for value in row])
        entropy = -sum(value * math.log(value) for value in p)
        assert place == (4 if entropy > threshold else p.index(max(p)))
    assert 10 < (found.argmax(dim=1) == 4).sum() < 190


def test_a_cosine_head_compares_directions():
    head = CosineHead(5, 3, temperature=0.2).double()
    rows = drawn(4, 5)
    for i, row in enumerate(rows):
        for c, weight in enumerate(head.weight):
            cosine = sum(float(a) * float(b) for a, b in zip(row, weight.detach(), strict=True))
            cosine /= math.sqrt(sum(float(a) ** 2 for a in row)) * math.sqrt(
                sum(float(b) ** 2 for b in weight.detach())
            )
            assert head(rows)[i, c].item() == pytest.approx(cosine / 0.2, rel=1e-12)
    torch.testing.assert_close(head(7 * rows), head(rows))
