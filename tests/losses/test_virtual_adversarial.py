"""Virtual adversarial directions of a softmax of linear logits, where the Hessian is known."""

import pytest
import torch

from tl_research.losses.virtual_adversarial import adversarial_direction, row_divergences, unit_rows

CLASSES, WIDTH = 3, 4


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def linear():
    weight, x = normal(CLASSES, WIDTH, seed=0), normal(5, WIDTH, seed=1)
    p = (x @ weight.T).softmax(dim=1)
    hessians = [weight.T @ (torch.diag(row) - torch.outer(row, row)) @ weight for row in p]
    return weight, x, torch.stack(hessians)


def divergence_of(weight, x):
    return lambda change: row_divergences((x + change) @ weight.T, x @ weight.T).sum()


def test_divergence_by_its_definition_and_its_second_order_form(linear):
    weight, x, hessians = linear
    z, other = x @ weight.T, normal(5, CLASSES, seed=2)
    p, q = z.softmax(dim=1), other.softmax(dim=1)
    torch.testing.assert_close(row_divergences(other, z), (p * (p / q).log()).sum(dim=1))
    change = 1e-4 * normal(5, WIDTH, seed=3)
    expected = 0.5 * torch.einsum("ni,nij,nj->n", change, hessians, change)
    torch.testing.assert_close(row_divergences((x + change) @ weight.T, z), expected, rtol=1e-3, atol=0)


def test_one_iteration_multiplies_by_the_hessian(linear):
    weight, x, hessians = linear
    start = normal(5, WIDTH, seed=4)
    found = adversarial_direction(divergence_of(weight, x), start, probe=1e-5)
    expected = unit_rows(torch.einsum("nij,nj->ni", hessians, start))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_many_iterations_find_the_first_eigenvector(linear):
    weight, x, hessians = linear
    found = adversarial_direction(divergence_of(weight, x), normal(5, WIDTH, seed=5), probe=1e-5, iterations=300)
    first = torch.linalg.eigh(hessians).eigenvectors[..., -1]
    torch.testing.assert_close((found * first).sum(dim=1).abs(), torch.ones(5, dtype=torch.float64), rtol=1e-4, atol=0)


def test_in_two_classes_one_iteration_is_enough_in_float32():
    weight, x = normal(2, WIDTH, seed=6).float(), normal(6, WIDTH, seed=7).float()
    found = adversarial_direction(divergence_of(weight, x), normal(6, WIDTH, seed=8).float())
    across = unit_rows((weight[1] - weight[0]).expand(6, -1))
    torch.testing.assert_close((found * across).sum(dim=1).abs(), torch.ones(6), rtol=1e-3, atol=0)


def test_rows_have_length_1_and_a_prediction_that_does_not_move_has_none():
    assert unit_rows(1e-30 * torch.ones(2, 3)).norm(dim=1).tolist() == pytest.approx([1, 1])
    found = adversarial_direction(lambda change: 0 * change.sum(), torch.ones(2, 3))
    assert torch.equal(found, torch.zeros(2, 3))
    with pytest.raises(ValueError, match="row_divergences"):
        row_divergences(torch.zeros(2, 3), torch.zeros(3, 3))
