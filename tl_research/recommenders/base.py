"""`Recommender`: learns from the logs of several domains, scores the target's catalogue for a block of users."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from tl_research.interactions.log import Log


@dataclass(frozen=True)
class Training:
    """What a recommender may learn from.

    Fields:
        target: training interactions of the target domain.
        sources: interactions of the other domains; none for a method of the target alone.
        unsold: codes of items that the target sells and that nobody has bought there yet.
    """

    target: Log
    sources: tuple[Log, ...] = ()
    unsold: tuple[int, ...] = ()

    @cached_property
    def catalogue(self) -> np.ndarray:
        """Sorted codes of the items that may be recommended: with a training interaction in the target, or `unsold`."""
        return np.union1d(self.target.own_items(), np.array(self.unsold, dtype=np.int64))

    @cached_property
    def own(self) -> sp.csr_matrix:
        """(users, items) of ones: the target alone."""
        return self.target.matrix()

    @cached_property
    def other(self) -> sp.csr_matrix:
        """(users, items) of ones: the other domains together."""
        found = sp.csr_matrix(self.own.shape, dtype=np.float32)
        for log in self.sources:
            found = found.maximum(log.matrix())
        return found.tocsr()

    @cached_property
    def both(self) -> sp.csr_matrix:
        """(users, items) of ones: all domains together."""
        return self.own.maximum(self.other).tocsr()


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
