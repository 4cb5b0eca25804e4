"""`Recommender`: learns from the logs of several domains, scores the target's catalogue for a block of users."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import scipy.sparse as sp

from tl_research.interactions.training import Training


class Recommender(ABC):
    """A method that is fitted once and then scores users.

    A user without a training interaction is scored too: the score then says what the method says of anybody.
    """

    def __init__(self) -> None:
        self.catalogue = np.zeros(0, dtype=np.int64)

    def fit(self, training: Training, *, seed: int = 0) -> Recommender:
        """Learn, and return itself.

        Args:
            training: logs of all domains.
            seed: of what is drawn at random.
        """
        self.catalogue = training.catalogue
        self.learn(training, seed)
        return self

    @abstractmethod
    def learn(self, training: Training, seed: int) -> None:
        """Learn from the logs; `catalogue` is known."""

    @abstractmethod
    def score(self, users: np.ndarray) -> np.ndarray:
        """Return (u, len(catalogue)) float32 for user codes (u,): the higher, the sooner recommended."""


def scaled_rows(matrix: sp.csr_matrix, scale: np.ndarray) -> sp.csr_matrix:
    """Return diag(scale) · matrix."""
    return sp.diags_array(scale.astype(np.float32)) @ matrix


def scaled_columns(matrix: sp.csr_matrix, scale: np.ndarray) -> sp.csr_matrix:
    """Return matrix · diag(scale)."""
    return matrix @ sp.diags_array(scale.astype(np.float32))


def inverse_power(count: np.ndarray, power: float) -> np.ndarray:
    """Return count^-power, and 0 for a count of 0."""
    return np.where(count > 0, np.maximum(count, 1e-12) ** -power, 0.0)


def sums(matrix: sp.csr_matrix, axis: int) -> np.ndarray:
    """Return the sums over an axis as (n,) float64."""
    return np.asarray(matrix.sum(axis=axis), dtype=np.float64).ravel()
