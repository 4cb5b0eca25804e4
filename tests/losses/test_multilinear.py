"""Multilinear maps against loops and in expectation; weights by entropy."""

import math

import pytest
import torch

from tl_research.losses.multilinear import entropy_weights, multilinear_map, randomised_multilinear_map


def rows(n, columns, seed):
    return torch.randn(n, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_map_is_the_outer_product_of_every_row():
    f, g = rows(5, 3, 0), rows(5, 4, 1).softmax(dim=1)
    found = multilinear_map(f, g)
    for i in range(5):
        expected = [g[i, c].item() * f[i, j].item() for c in range(4) for j in range(3)]
        assert found[i].tolist() == pytest.approx(expected)


def test_a_row_that_is_certain_has_its_features_in_the_place_of_its_class():
    f, g = rows(1, 3, 0), torch.eye(2, dtype=torch.float64)[[1]]
    assert multilinear_map(f, g).tolist() == [[0, 0, 0, *f[0].tolist()]]


def test_the_randomised_map_has_the_inner_products_of_the_map_in_expectation():
    f, g = rows(4, 3, 0), rows(4, 2, 1).softmax(dim=1)
    exact = multilinear_map(f, g)
    expected = exact @ exact.T
    torch.testing.assert_close(expected, (f @ f.T) * (g @ g.T))
    products = []
    for draw in range(400):
        found = randomised_multilinear_map(f, g, rows(64, 3, 10 + draw), rows(64, 2, 1000 + draw))
        products.append(found @ found.T)
    mean = torch.stack(products).mean(dim=0)
    error = torch.stack(products).std(dim=0) / math.sqrt(len(products))
    assert ((mean - expected).abs() < 4.5 * error).all()
    assert (error < 0.05 * expected.abs().max()).all()


def test_entropy_weights_by_a_loop():
    z = rows(6, 3, 2)
    raw = []
    for row in z.softmax(dim=1).tolist():
        raw.append(1 + math.exp(sum(p * math.log(p) for p in row)))
    assert entropy_weights(z).tolist() == pytest.approx([6 * w / sum(raw) for w in raw])
    assert entropy_weights(torch.zeros(3, 2)).tolist() == pytest.approx([1, 1, 1])
    certain = entropy_weights(torch.tensor([[1000.0, 0.0], [0.0, 0.0]]))
    assert (certain[0] / certain[1]).item() == pytest.approx(2 / 1.5)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"multilinear_map: got \(2, 3\) and \(4, 2\)"):
        multilinear_map(rows(2, 3, 0), rows(4, 2, 0))
