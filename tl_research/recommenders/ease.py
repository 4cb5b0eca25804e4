"""EASE and its transfer form: every item regressed on all others, with a ridge of its own per domain."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.linalg import get_lapack_funcs

from tl_research.interactions.training import Training
from tl_research.recommenders.base import Recommender, scaled_columns

#: Users whose scores are computed at once.
BLOCK = 1024


class CrossEase(Recommender):
    """Target items regressed on the items of all domains: min |X_T - X W|² + Σ_j λ_j |W_j·|², W_ii = 0.

    λ_j is `ridge` for items of the target's catalogue and `source_ridge` for all others. With Λ = diag(λ) and
    P = (XᵀX + Λ)⁻¹ the solution is W_ij = -P_ij / P_jj off the diagonal, so that a user's scores are
    x W = x - x P diag(P)⁻¹.

    Where there are fewer users than items nothing of the items' size squared is made: with K = I + X Λ⁻¹ Xᵀ (users ×
    users) X P = K⁻¹ X Λ⁻¹ and P_jj = (1 - x_jᵀ K⁻¹ x_j / λ_j) / λ_j. The matrix of the smaller side is inverted.

    `source_ridge=inf` is EASE on the target alone.

    Args:
        ridge: λ of the target's items, above 0.
        source_ridge: λ of the others' items, above 0.
        dtype: of the factorisation.

    Reference:
        Steck 2019, WWW, equations 5 to 8 (EASE); the blocks of ridges and the form of the users' side are ours.
    """

    def __init__(self, ridge: float = 100.0, source_ridge: float = 300.0, dtype: type = np.float32):
        super().__init__()
        if not (ridge > 0 and source_ridge > 0):
            raise ValueError(f"ridge: got {ridge} and {source_ridge}, wants numbers above 0")
        self.ridge, self.source_ridge, self.dtype = ridge, source_ridge, dtype

    def learn(self, training: Training, seed: int) -> None:
        inverse_ridge = np.full(training.own.shape[1], 1 / self.source_ridge)
        inverse_ridge[self.catalogue] = 1 / self.ridge
        uses_sources = np.isfinite(self.source_ridge) and training.sources
        x = (training.both if uses_sources else training.own).astype(self.dtype).tocsr()
        if not uses_sources:
            inverse_ridge = np.full(training.own.shape[1], 1 / self.ridge)
        used = np.union1d(np.flatnonzero(np.diff(x.tocsc().indptr)), self.catalogue)
        self.place = np.searchsorted(used, self.catalogue)
        self.rows = np.flatnonzero(np.diff(x.indptr))
        self.row_of = np.full(x.shape[0], -1)
        self.row_of[self.rows] = np.arange(len(self.rows))
        self.x, self.inverse_ridge = x[self.rows][:, used].tocsr(), inverse_ridge[used]
        learn = self._learn_by_users if len(self.rows) < len(used) else self._learn_by_items
        learn()

    def _learn_by_users(self) -> None:
        """Keep (users, catalogue) scores in factors: the Cholesky factor of K, and X Λ⁻¹ of the catalogue."""
        weighted = scaled_columns(self.x, self.inverse_ridge).astype(self.dtype)
        kernel = (weighted @ self.x.T).toarray().astype(self.dtype, copy=False)
        kernel[np.diag_indices_from(kernel)] += 1
        self.inverse = inverse_in_place(kernel)
        self.of_catalogue = scaled_columns(self.x[:, self.place], self.inverse_ridge[self.place]).tocsr()
        columns = self.x[:, self.place].tocsc()
        explained = np.empty(len(self.place))
        for start in range(0, len(self.place), BLOCK):
            part = columns[:, start : start + BLOCK]
            explained[start : start + BLOCK] = np.asarray(part.multiply(self.inverse @ part).sum(axis=0)).ravel()
        own = self.inverse_ridge[self.place]
        self.diagonal = (1 - own * explained) * own
        self.by_users = True

    def _learn_by_items(self) -> None:
        gram = (self.x.T @ self.x).toarray().astype(self.dtype, copy=False)
        gram[np.diag_indices_from(gram)] += 1 / self.inverse_ridge
        inverse = inverse_in_place(gram)[:, self.place]
        self.diagonal = inverse[self.place, np.arange(len(self.place))]
        self.weight = -inverse / self.diagonal
        self.weight[self.place, np.arange(len(self.place))] = 0
        self.weight = self.weight.astype(np.float32)
        self.by_users = False

    def score(self, users: np.ndarray) -> np.ndarray:
        scores = np.zeros((len(users), len(self.place)), np.float32)
        at = self.row_of[users]
        known = np.flatnonzero(at >= 0)
        own = self.x[at[known]]
        if self.by_users:
            fitted = self.inverse[at[known]] @ self.of_catalogue
            scores[known] = own[:, self.place].toarray() - np.asarray(fitted) / self.diagonal
        else:
            scores[known] = own.astype(np.float32) @ self.weight
        return scores


class Ease(CrossEase):
    """EASE on the target alone, or on all domains with one ridge.

    Args:
        ridge: λ, above 0.
        use_sources: whether interactions of the other domains count.
        dtype: of the factorisation.

    Reference:
        Steck 2019, WWW, "Embarrassingly Shallow Autoencoders for Sparse Data".
    """

    def __init__(self, ridge: float = 100.0, use_sources: bool = False, dtype: type = np.float32):
        super().__init__(ridge, ridge if use_sources else np.inf, dtype)


class MarketEase(Recommender):
    """EASE over shared items with the purchases of the other markets counted by a weight.

    W_ij = -P_ij / P_jj, P = (X_TᵀX_T + w X_SᵀX_S + λ I)⁻¹; a user's scores are x_T W. A user of two markets is one in
    each: no purchase of a user ties the markets, the items do.

    Args:
        ridge: λ, above 0.
        source_weight: w, above 0; as it goes to 0 this is EASE on the target alone.
        dtype: of the inverse.

    Reference:
        Steck 2019, WWW (EASE, with weighted rows); the weight per market is ours, after the idea of Bonab et al. 2021,
        CIKM ("Cross-Market Product Recommendation").
    """

    def __init__(self, ridge: float = 50.0, source_weight: float = 0.1, dtype: type = np.float32):
        super().__init__()
        if not (ridge > 0 and source_weight > 0):
            raise ValueError(f"ridge: got {ridge}, source_weight {source_weight}; wants numbers above 0")
        self.ridge, self.source_weight, self.dtype = ridge, source_weight, dtype

    def learn(self, training: Training, seed: int) -> None:
        own, other = (x.astype(self.dtype)[:, self.catalogue] for x in (training.own, training.other))
        gram = (own.T @ own + self.source_weight * (other.T @ other)).toarray().astype(self.dtype, copy=False)
        gram[np.diag_indices_from(gram)] += self.ridge
        inverse = inverse_in_place(gram)
        weight = -inverse / np.diag(inverse)
        np.fill_diagonal(weight, 0)
        self.weight, self.bought = weight.astype(np.float32), own.astype(np.float32).tocsr()

    def score(self, users: np.ndarray) -> np.ndarray:
        return self.bought[users] @ self.weight


def inverse_in_place(matrix: np.ndarray) -> np.ndarray:
    """Return the inverse of a symmetric positive definite matrix (n, n), in its own memory: n³ operations.

    Raises:
        ValueError: it is not positive definite in its precision.
    """
    factorise, invert = get_lapack_funcs(("potrf", "potri"), (matrix,))
    # LAPACK counts columns first: the transpose of a C array is one of its own, and the same matrix.
    factor, failed = factorise(matrix.T, lower=True, overwrite_a=True, clean=False)
    if failed:
        raise ValueError(f"the matrix is not positive definite in {matrix.dtype}; a larger ridge, or float64")
    inverse, _ = invert(factor, lower=True, overwrite_c=True)
    return _mirrored(inverse)


def _mirrored(lower: np.ndarray) -> np.ndarray:
    """Copy the lower triangle to the upper one, block by block, in place."""
    for start in range(0, len(lower), BLOCK):
        stop = min(start + BLOCK, len(lower))
        square = lower[start:stop, start:stop]
        square[...] = np.tril(square) + np.tril(square, -1).T
        lower[start:stop, stop:] = lower[stop:, start:stop].T
    return lower


def dense_ease(x: sp.csr_matrix, ridge: np.ndarray) -> np.ndarray:
    """Return W (items, items) of `CrossEase` by its definition, for tests.

    Args:
        x: (users, items).
        ridge: (items,).
    """
    inverse = np.linalg.inv((x.T @ x).toarray().astype(np.float64) + np.diag(ridge))
    weight = -inverse / np.diag(inverse)
    np.fill_diagonal(weight, 0)
    return weight
