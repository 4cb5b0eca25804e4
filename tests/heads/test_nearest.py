import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from tl_research.heads import nearest
from tl_research.heads.nearest import nearest_rows


def rows(n, d, seed):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("tile", [(512, 1024), (7, 5), (1, 1), (100, 3)])
@pytest.mark.parametrize("k", [1, 4])
def test_it_finds_what_scikit_learn_finds_whatever_the_tile(monkeypatch, tile, k):
    monkeypatch.setattr(nearest, "TILE", tile)
    queries, reference = rows(40, 3, 0) + 1e4, rows(60, 3, 1) + 1e4  # an offset costs no digits
    expected = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(reference.numpy()).kneighbors(queries.numpy())[1]
    np.testing.assert_array_equal(nearest_rows(queries, reference, k).numpy(), expected)


def test_of_equal_rows_it_takes_the_first_also_across_tiles(monkeypatch):
    monkeypatch.setattr(nearest, "TILE", (4, 2))
    reference = torch.tensor([[5.0], [1.0], [1.0], [1.0], [5.0]])
    assert nearest_rows(torch.tensor([[0.9], [5.1]]), reference)[:, 0].tolist() == [1, 0]


def test_no_row_has_no_neighbour():
    assert nearest_rows(torch.zeros(0, 2), torch.zeros(3, 2)).shape == (0, 1)
