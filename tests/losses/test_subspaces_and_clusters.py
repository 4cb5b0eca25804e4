"""RSD of known angles, CDD against loops, spherical k-means on planted directions."""

import math

import pytest
import torch

from tl_research.losses.contrastive_domains import contrastive_discrepancy
from tl_research.losses.spherical_clusters import spherical_clusters
from tl_research.losses.subspaces import subspace_distance


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plane(angle: float) -> torch.Tensor:
    """Rows of the plane of e1 and (cos a) e2 + (sin a) e3, e1 the strongest."""
    basis = torch.tensor([[3.0, 0, 0, 0], [0, math.cos(angle), math.sin(angle), 0]], dtype=torch.float64)
    return drawn(30, 2) @ basis


@pytest.mark.parametrize("angle", [0.1, 0.7, math.pi / 2])
def test_the_angle_between_two_planes(angle):
    assert subspace_distance(plane(0.0), plane(angle)).item() == pytest.approx(math.sin(angle), rel=1e-6)


def test_one_subspace_is_no_distance_whatever_the_rows_and_their_scale():
    mixed = drawn(40, 2, seed=3) @ plane(0.3)[:2]
    assert subspace_distance(plane(0.3), 7 * mixed).item() == pytest.approx(0, abs=1e-5)
    nothing = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
    distance = subspace_distance(plane(0.3), nothing)
    distance.backward()
    assert distance == 0
    assert (nothing.grad == 0).all()
    with pytest.raises(ValueError, match="wants"):
        subspace_distance(drawn(3, 2), drawn(3, 4))


def test_the_gradient_of_subspaces_is_that_of_differences():
    """Of five rows in four columns too: the basis is then that of the rows' space."""
    for rows in (3, 30):
        x, y = drawn(rows, 5, seed=5), drawn(30, 5, seed=6)[:, :2] @ drawn(2, 5, seed=7)
        torch.autograd.gradcheck(lambda a, y=y: subspace_distance(a, y), x.requires_grad_(), atol=1e-6)


def test_dead_and_equal_features_have_a_finite_gradient():
    x = torch.cat([torch.eye(4), torch.zeros(4, 3)], dim=1).double().requires_grad_()
    subspace_distance(x, drawn(6, 7)).backward()
    assert x.grad.isfinite().all()
    assert x.grad.abs().sum() > 0


def by_loops(x, label, y, guess, classes, bandwidths):
    def kernel(a, b):
        return sum(math.exp(-float((a - b).square().sum()) / (2 * w**2)) for w in bandwidths) / len(bandwidths)

    def mean(left, right):
        values = [kernel(a, b) for a in left for b in right]
        return sum(values) / len(values)

    within, between = [], []
    for c in range(classes):
        for d in range(classes):
            s, t = (
                [r for r, k in zip(x, label, strict=True) if k == c],
                [r for r, k in zip(y, guess, strict=True) if k == d],
            )
            if s and t:
                means = mean(s, s), mean(t, t), mean(s, t)
                assert all(0 <= value <= 1 for value in means)
                (within if c == d else between).append(means[0] + means[1] - 2 * means[2])
    return [sum(values) / len(values) if values else 0.0 for values in (within, between)]


def test_contrastive_discrepancy_against_loops():
    x, y = drawn(9, 3), drawn(8, 3, seed=1)
    label, guess = torch.tensor([0, 0, 0, 1, 1, 1, 1, 3, 3]), torch.tensor([0, 0, 1, 1, -1, 2, 2, -1])
    found = contrastive_discrepancy(x, label, y, guess, classes=4, bandwidths=(1.0, 4.0))
    expected = by_loops(x, label.tolist(), y, guess.tolist(), 4, (1.0, 4.0))
    assert [value.item() for value in found] == pytest.approx(expected, rel=1e-9)
    same = contrastive_discrepancy(x, label, x, label, classes=4, bandwidths=(1.0,))
    assert same.within.item() == pytest.approx(0, abs=1e-9)
    assert same.between > 0
    nobody = contrastive_discrepancy(x, label, y, torch.full((8,), -1), classes=4, bandwidths=(1.0,))
    assert [value.item() for value in nobody] == [0, 0]
    with pytest.raises(ValueError, match="wants"):
        contrastive_discrepancy(x, label, y[:, :2], guess, classes=4, bandwidths=(1.0,))


def test_spherical_clusters_find_planted_directions():
    truth = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    label = torch.arange(90) % 3
    rows = (truth[label] + 0.1 * drawn(90, 3)) * drawn(90, 1, seed=2).abs().add(0.5)
    found = spherical_clusters(rows, truth + 0.4 * drawn(3, 3, seed=4))
    assert torch.equal(found.label, label)
    cosine = torch.nn.functional.cosine_similarity(rows, found.centres[label])
    torch.testing.assert_close(found.distance, 0.5 * (1 - cosine))
    assert (torch.nn.functional.cosine_similarity(found.centres, truth) > 0.99).all()
    kept = spherical_clusters(rows[:1], truth)
    torch.testing.assert_close(kept.centres[1:], truth[1:])
    with pytest.raises(ValueError, match="rounds"):
        spherical_clusters(rows, truth, most_rounds=0)
