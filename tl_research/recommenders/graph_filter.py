"""Low-pass filters on the graph of items, without training; across domains with bridges over shared users."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import svds

from tl_research.interactions.training import Training
from tl_research.recommenders.base import Recommender, inverse_power, scaled_columns, scaled_rows, sums

#: Users or items, whichever are fewer, up to which all singular values are computed.
DENSE = 1_000


class GraphFilter(Recommender):
    """score = r (R̃ᵀR̃ + α D_I^-½ V Vᵀ D_I^½), R̃ = D_U^-½ R D_I^-½, V its `rank` leading right singular vectors.

    The second term is the ideal low-pass filter, the first the linear one.

    Args:
        rank: singular vectors; 0: the linear filter alone.
        alpha: weight of the ideal filter.
        use_sources: whether interactions of the other domains count.

    Reference:
        Shen et al. 2021, CIKM, "How Powerful is Graph Convolution for Recommendation?", algorithm 1 (GF-CF).
    """

    def __init__(self, rank: int = 256, alpha: float = 0.3, use_sources: bool = False):
        super().__init__()
        self.rank, self.alpha, self.use_sources = rank, alpha, use_sources

    def learn(self, training: Training, seed: int) -> None:
        self.bought = training.both if self.use_sources else training.own
        count = sums(self.bought, 0)
        self.normalised = normalised(self.bought)
        self.of_catalogue = self.normalised[:, self.catalogue].tocsr()
        rank = min(self.rank, min(self.normalised.shape) - 1)
        self.vectors = np.zeros((0, self.bought.shape[1]), np.float32)
        if rank > 0 and self.alpha > 0:
            self.vectors = _leading(self.normalised, rank, seed)
        self.before, self.after = inverse_power(count, 0.5), np.sqrt(count)[self.catalogue].astype(np.float32)

    def score(self, users: np.ndarray) -> np.ndarray:
        rows = self.bought[users]
        scores = ((rows @ self.normalised.T) @ self.of_catalogue).toarray()
        if len(self.vectors):
            ideal = (scaled_columns(rows, self.before) @ self.vectors.T) @ self.vectors[:, self.catalogue]
            scores += self.alpha * ideal * self.after
        return scores


def _leading(matrix: sp.csr_matrix, rank: int, seed: int) -> np.ndarray:
    """(k, items) float32: the right singular vectors of the `rank` largest singular values, or of all above zero.

    Vectors of a singular value of zero are any directions that the solver came upon: another in each run.
    """
    if min(matrix.shape) <= DENSE:
        values, vectors = _all_leading(matrix, rank)
    else:
        start = np.random.default_rng(seed).normal(size=min(matrix.shape))
        _, values, vectors = svds(matrix, k=rank, v0=start, return_singular_vectors="vh")
    zero = np.finfo(np.float32).eps * max(matrix.shape) * values.max(initial=0.0)
    return vectors[values > zero].astype(np.float32)


def _all_leading(matrix: sp.csr_matrix, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Return singular values (k,) and right singular vectors (k, items) by the Gram matrix of the smaller side.

    The iteration of `svds` is not sure of itself where most of the values are asked for.
    """
    by_rows = matrix.shape[0] <= matrix.shape[1]
    gram = (matrix @ matrix.T if by_rows else matrix.T @ matrix).toarray().astype(np.float64)
    squares, found = np.linalg.eigh(gram)
    values, found = np.sqrt(np.maximum(squares[-rank:], 0)), found[:, -rank:]
    if not by_rows:
        return values, found.T
    return values, (matrix.T @ found).T / np.where(values > 0, values, 1)[:, None]


class CrossGraphFilter(Recommender):
    """Target-only and source-bridged similarity mixed.

    S = (1 - β) R̃_TᵀR̃_T + β (R̃_TᵀR̃_S)(R̃_SᵀR̃_T), each with rows that sum to 1: an item of the target reaches another over
    the source's items that users of both domains have bought. A user's signal is r_T S; `history` adds what the user
    has bought in the source, taken over the bridge once: r_S R̃_SᵀR̃_T. A user whom the target does not know has that
    alone.

    Args:
        bridge: β, between 0 (the linear filter of the target) and 1.
        history: weight of the source's purchases.

    Reference:
        After Lee et al. 2024, arXiv 2407.12374 (target-only and source-bridged similarity); the row sums are ours.
    """

    def __init__(self, bridge: float = 0.3, history: float = 0.5):
        super().__init__()
        if not 0 <= bridge <= 1 or history < 0:
            raise ValueError(f"bridge: got {bridge}, history {history}; wants a share, and a number of at least 0")
        self.bridge, self.history = bridge, history

    def learn(self, training: Training, seed: int) -> None:
        self.own, self.other = training.own, training.other
        target, source = normalised(self.own), normalised(self.other)
        self.of_catalogue = target[:, self.catalogue].tocsr()
        self.target_users, self.source_users = target.T.tocsr(), source.T.tocsr()
        self.across = self.source_users @ target  # (source items, target items)
        self.across_catalogue = self.across[:, self.catalogue].tocsr()
        ones = np.ones(target.shape[1], np.float32)
        self.of_target = inverse_power(self.target_users @ (target @ ones), 1.0)
        self.of_bridge = inverse_power(self.across.T @ (self.across @ ones), 1.0)
        self.of_source = inverse_power(self.across @ ones, 1.0)

    def score(self, users: np.ndarray) -> np.ndarray:
        rows, source_rows = self.own[users], self.other[users]
        alone = (scaled_columns(rows, self.of_target) @ self.target_users) @ self.of_catalogue
        over = (scaled_columns(rows, self.of_bridge) @ self.across.T) @ self.across_catalogue
        history = scaled_columns(source_rows, self.of_source) @ self.across_catalogue
        mixed = (1 - self.bridge) * alone + self.bridge * over + self.history * history
        return sp.csr_matrix(mixed).toarray().astype(np.float32)


def normalised(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """Return D_U^-½ R D_I^-½."""
    by_user = scaled_rows(matrix, inverse_power(sums(matrix, 1), 0.5))
    return scaled_columns(by_user, inverse_power(sums(matrix, 0), 0.5)).tocsr()
