"""`Log`: the interactions of one domain, in codes that all domains of a task share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp


@dataclass(frozen=True)
class Log:
    """Interactions of users with items in one domain; each pair at most once.

    Codes are of the task, not of the domain: a user who is in two domains has one code, and so has an item. A domain
    that lacks a user or an item has no interaction with its code.

    Fields:
        name: of the domain.
        user, item: (n,) int64 codes.
        users, items: numbers of codes in the task.
        rating: (n,) float32; None where there are none.
        time: (n,) float64 seconds since 1970 (or any other unit that grows with time); None where there is none.
    """

    name: str
    user: np.ndarray
    item: np.ndarray
    users: int
    items: int
    rating: np.ndarray | None = None
    time: np.ndarray | None = None

    def __post_init__(self):
        for what, code, count in (("user", self.user, self.users), ("item", self.item, self.items)):
            if len(code) and not 0 <= code.min() <= code.max() < count:
                raise ValueError(f"{self.name}: {what} codes from {code.min()} to {code.max()}, but {count} {what}s")
        for what in ("item", "rating", "time"):
            column = getattr(self, what)
            if column is not None and column.shape != self.user.shape:
                raise ValueError(f"{self.name}: {len(self.user)} users but {what} of shape {column.shape}")

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: np.ndarray) -> Log:
        """Return the log of some rows (places, or a mask)."""
        parts = {
            name: column[rows]
            for name in ("user", "item", "rating", "time")
            if (column := getattr(self, name)) is not None
        }
        return replace(self, **parts)

    def joined(self, other: Log) -> Log:
        """Return the log of both rows, under this name; a column that one of them lacks is left out."""
        parts = {"user": np.concatenate([self.user, other.user]), "item": np.concatenate([self.item, other.item])}
        for name in ("rating", "time"):
            both = getattr(self, name), getattr(other, name)
            parts[name] = None if both[0] is None or both[1] is None else np.concatenate(both)
        return replace(self, **parts)

    def matrix(self) -> sp.csr_matrix:
        """Return (users, items) float32: 1 where a user has interacted with an item, also where a pair is repeated."""
        found = sp.csr_matrix((np.ones(len(self), np.float32), (self.user, self.item)), shape=(self.users, self.items))
        found.data[:] = 1
        return found

    def own_items(self) -> np.ndarray:
        """Return the sorted codes of the items that somebody has interacted with here: the catalogue."""
        return np.unique(self.item)

    def own_users(self) -> np.ndarray:
        """Return the sorted codes of the users that have an interaction here."""
        return np.unique(self.user)
