"""Items bought together: cosine neighbours of what a user has bought."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from tl_research.interactions.training import Training
from tl_research.recommenders.base import Recommender, inverse_power, scaled_columns, scaled_rows, sums

#: Items whose neighbours are found at once.
BLOCK = 2048


class ItemKNN(Recommender):
    """score(u, ·) = Σ_{j bought by u} S_j·, S_ji = x_j·x_i / (|x_j| |x_i| + shrink), the `neighbours` largest per j.

    Users may be normalised before (`user_power` = 0.5: x_ui / √(items of u)): a user who buys everything says little.

    Args:
        neighbours: kept per item.
        shrink: added to the denominator.
        user_power: p of x_ui / items(u)^p.
        use_sources: whether interactions of the other domains count: items of both domains are neighbours.

    Reference:
        Sarwar et al. 2001, WWW; Deshpande & Karypis 2004, ACM TOIS 22(1), section 4 (row normalisation).
    """

    def __init__(self, neighbours: int = 200, shrink: float = 10.0, user_power: float = 0.0, use_sources: bool = False):
        super().__init__()
        self.neighbours, self.shrink, self.user_power, self.use_sources = neighbours, shrink, user_power, use_sources

    def learn(self, training: Training, seed: int) -> None:
        self.bought = training.both if self.use_sources else training.own
        x = scaled_rows(self.bought, inverse_power(sums(self.bought, 1), self.user_power)).tocsc()
        norm = np.sqrt(sums(x.multiply(x).tocsr(), 0))
        catalogue = x[:, self.catalogue]
        blocks = []
        for start in range(0, x.shape[1], BLOCK):
            stop = min(start + BLOCK, x.shape[1])
            product = (x[:, start:stop].T @ catalogue).tocoo()
            items = start + product.row
            value = product.data / (norm[items] * norm[self.catalogue[product.col]] + self.shrink)
            value[items == self.catalogue[product.col]] = 0
            blocks.append(_largest(product.row, product.col, value, product.shape, self.neighbours))
        self.similarity = sp.vstack(blocks).tocsr()

    def score(self, users: np.ndarray) -> np.ndarray:
        return (self.bought[users] @ self.similarity).toarray()


class CoOccurrence(ItemKNN):
    """User-normalised co-occurrence without a limit: score(u, ·) = Σ_j Σ_v x_vj x_v· / items(v)."""

    def __init__(self, use_sources: bool = False):
        super().__init__(use_sources=use_sources)

    def learn(self, training: Training, seed: int) -> None:
        self.bought = training.both if self.use_sources else training.own
        count = sums(self.bought, 1)
        self.weighted = scaled_rows(self.bought, inverse_power(count, 1.0))
        self.items = scaled_columns(self.bought, np.ones(self.bought.shape[1]))[:, self.catalogue].tocsr()

    def score(self, users: np.ndarray) -> np.ndarray:
        return ((self.bought[users] @ self.weighted.T) @ self.items).toarray()


def _largest(row: np.ndarray, column: np.ndarray, value: np.ndarray, shape: tuple[int, int], count: int):
    """Return a csr matrix of the `count` largest positive values per row; of equal ones those of lower columns."""
    positive = value > 0
    row, column, value = row[positive], column[positive], value[positive]
    order = np.lexsort((column, -value, row))
    row, column, value = row[order], column[order], value[order]
    size = np.bincount(row, minlength=shape[0])
    first = np.concatenate([[0], np.cumsum(size)[:-1]])
    kept = np.arange(len(row)) - first[row] < count
    return sp.csr_matrix((value[kept].astype(np.float32), (row[kept], column[kept])), shape=shape)
