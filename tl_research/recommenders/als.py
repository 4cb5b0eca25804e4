"""Matrix factorisation of implicit feedback by alternating least squares."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from tl_research.interactions.training import Training
from tl_research.recommenders.base import Recommender
from tl_research.recommenders.products import Products


class ImplicitALS(Recommender):
    """min Σ_ui c_ui (r_ui - p_u·q_i)² + λ (Σ|p_u|² + Σ|q_i|²), r = 1, c = 1 + α where bought, else r = 0, c = 1.

    Users and items in turn: (QᵀQ + α Q_uᵀQ_u + λ I) p_u = (1 + α) Σ_{i bought by u} q_i, by conjugate gradients from
    the factors before. Each step costs the interactions times the rank.

    Args:
        rank: length of the factors.
        ridge: λ, above 0.
        alpha: α, further weight of what was bought, above 0.
        sweeps: times that users and items are solved.
        steps: of conjugate gradients per solution; as many as `rank` solve exactly.
        use_sources: whether interactions of the other domains count.

    Reference:
        Hu, Koren & Volinsky 2008, ICDM, equations 3 to 5; Takacs, Pilaszy & Tikk 2011, RecSys (conjugate gradients).
    """

    def __init__(
        self, rank: int = 64, ridge: float = 1.0, alpha: float = 10.0, sweeps: int = 15, steps: int = 3,
        use_sources: bool = False,
    ):  # fmt: skip
        super().__init__()
        if not (ridge > 0 and alpha > 0):
            raise ValueError(f"ridge: got {ridge}, alpha {alpha}; wants numbers above 0")
        self.rank, self.ridge, self.alpha = rank, ridge, alpha
        self.sweeps, self.steps, self.use_sources = sweeps, steps, use_sources

    def learn(self, training: Training, seed: int) -> None:
        bought = training.both if self.use_sources else training.own
        draw = np.random.default_rng(seed)
        users, items = (draw.normal(0, 0.01, (size, self.rank)).astype(np.float32) for size in bought.shape)
        columns = bought.T.tocsr()
        for _ in range(self.sweeps):
            users = self.solved(bought, users, items)
            items = self.solved(columns, items, users)
        users[np.diff(bought.indptr) == 0] = 0
        self.user_factors, self.item_factors = users, items[self.catalogue]

    def solved(self, bought: sp.csr_matrix, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the factors (n, rank) of the rows of `bought` for given factors of its columns, begun at `rows`."""
        gram = columns.T @ columns + self.ridge * np.eye(self.rank, dtype=np.float32)
        fit = Products(bought, columns)

        def applied(x: np.ndarray) -> np.ndarray:
            image = fit.sums(fit.at_entries(x, scale=self.alpha))
            image += x @ gram
            return image

        # What is wanted and what the first factors give, in one sum.
        gap = fit.sums(1 + self.alpha - fit.at_entries(rows, scale=self.alpha))
        gap -= rows @ gram
        return _conjugate_gradients(applied, rows, gap, self.steps)

    def score(self, users: np.ndarray) -> np.ndarray:
        return self.user_factors[users] @ self.item_factors.T


def _conjugate_gradients(
    applied: Callable[[np.ndarray], np.ndarray], start: np.ndarray, gap: np.ndarray, steps: int
) -> np.ndarray:
    """Solve A x = b for all rows at once.

    Args:
        applied: x -> A x, each row with a matrix of its own.
        start: (n, d) x to begin with.
        gap: (n, d) b - A x of it; changed in place.
        steps: of conjugate gradients.
    """
    x, rest = start.copy(), gap
    direction, size = rest.copy(), np.einsum("ij,ij->i", rest, rest)
    for _ in range(steps):
        image = applied(direction)
        length = np.einsum("ij,ij->i", direction, image)
        rate = np.divide(size, length, out=np.zeros_like(size), where=length > 1e-20)[:, None]
        x += rate * direction
        rest -= rate * image
        new = np.einsum("ij,ij->i", rest, rest)
        share = np.divide(new, size, out=np.zeros_like(new), where=size > 1e-20)[:, None]
        direction *= share
        direction += rest
        size = new
    return x
