"""Ratings as biases and products of factors, by alternating least squares."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from tl_research.interactions.training import Training
from tl_research.recommenders.rating import RatingModel, centred


class BiasedFactors(RatingModel):
    """min Σ (r_ui - μ_d - b_u - b_i - p_u·q_i)² + β (Σ b_u² + Σ b_i²) + λ (Σ |p_u|² + Σ |q_i|²).

    μ_d is the mean of the domain's ratings. Users and items in turn: (b_u, p_u) solves its normal equations for
    given items, in float64. A user of two domains has one bias and one vector. With `rank=0` the biases alone are left:
    shrunk means of users and items. A prediction takes the target's μ; without a rating bias and vector are 0.

    Args:
        rank: length of the factors; 0: biases alone.
        ridge: λ, above 0.
        bias_ridge: β, above 0.
        sweeps: times that users and items are solved.
        use_sources: whether ratings of the other domains count.

    Reference:
        Koren, Bell & Volinsky 2009, IEEE Computer 42(8), equations 4 and 5, by alternating least squares; on all
        domains: Singh & Gordon 2008, KDD (collective matrix factorisation).
    """

    def __init__(
        self, rank: int = 8, ridge: float = 10.0, bias_ridge: float = 5.0, sweeps: int = 15, use_sources: bool = False
    ):
        if rank < 0 or not (ridge > 0 and bias_ridge > 0):
            raise ValueError(
                f"rank: got {rank}, ridge {ridge}, bias_ridge {bias_ridge}; wants rank 0 or more, ridges > 0"
            )
        self.rank, self.ridge, self.bias_ridge = rank, ridge, bias_ridge
        self.sweeps, self.use_sources = sweeps, use_sources

    def learn(self, training: Training, seed: int) -> None:
        parts = centred(training, self.use_sources)
        user, item = (np.concatenate([getattr(log, name) for log, _ in parts]) for name in ("user", "item"))
        rating = np.concatenate([value for _, value in parts])
        shape = training.target.users, training.target.items
        by_user, by_item = _rows(user, item, rating, shape), _rows(item, user, rating, shape[::-1])
        self.users, self.items = (np.zeros((size, 1 + self.rank)) for size in shape)
        spread = 1 / np.sqrt(max(1, self.rank))
        self.items[:, 1:] = np.random.default_rng(seed).normal(0, spread, (shape[1], self.rank))
        for _ in range(self.sweeps):
            self.users = self.solved(by_user, self.items)
            self.items = self.solved(by_item, self.users)

    def solved(self, ratings: sp.csr_matrix, columns: np.ndarray) -> np.ndarray:
        """Return (n, 1 + rank), bias and vector of each row of `ratings`, for those of the columns.

        Args:
            ratings: (n, m) of r - μ; a cell may be there twice.
            columns: (m, 1 + rank).
        """
        x = columns.copy()
        x[:, 0] = 1
        outer = (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)
        ones, rest = ratings.copy(), ratings.copy()
        ones.data = np.ones_like(ratings.data)
        rest.data = ratings.data - columns[ratings.indices, 0]
        penalty = np.diag([self.bias_ridge, *[self.ridge] * self.rank])
        rated, found = np.diff(ratings.indptr) > 0, np.zeros((ratings.shape[0], x.shape[1]))
        gram = (ones[rated] @ outer).reshape(-1, len(penalty), len(penalty)) + penalty
        found[rated] = np.linalg.solve(gram, (rest[rated] @ x)[:, :, None])[:, :, 0]
        return found

    def raw(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        return self.mean + products(self.users[user], self.items[item])


def products(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return (n,) b_u + b_i + p_u·q_i of rows (n, 1 + rank)."""
    return users[:, 0] + items[:, 0] + np.einsum("ij,ij->i", users[:, 1:], items[:, 1:])


def _rows(row: np.ndarray, column: np.ndarray, value: np.ndarray, shape: tuple[int, int]) -> sp.csr_matrix:
    """Return a matrix that keeps a cell twice where it is there twice."""
    order = np.argsort(row, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=shape[0]))])
    return sp.csr_matrix((value[order], column[order], starts), shape=shape)
