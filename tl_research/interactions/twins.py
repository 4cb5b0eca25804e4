"""Twins: the same product in two domains under two ids, found by its buyers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from tl_research.interactions.log import Log

#: A product counts from so many buyers in each domain: with two buyers any two products may share both by chance.
FEWEST_BUYERS = 3
#: Share of the buyers of either that bought both: |A ∩ B| / |A ∪ B|.
LEAST_JACCARD = 0.8
#: Items whose shared buyers are counted at once.
BLOCK = 4096


@dataclass(frozen=True)
class Twins:
    """Pairs of items that (nearly) the same users have bought.

    Fields:
        first, second: (k,) item codes, in the first and in the second domain.
        shared: (k,) buyers of both.
        jaccard: (k,) shared buyers / buyers of either.
    """

    first: np.ndarray
    second: np.ndarray
    shared: np.ndarray
    jaccard: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    def reversed(self) -> Twins:
        """Return the same pairs, seen from the second domain."""
        return Twins(self.second, self.first, self.shared, self.jaccard)


def buyers_of(log: Log) -> sp.csr_matrix:
    """Return (items, users): 1 where a user has bought an item."""
    return log.matrix().T.tocsr()


def twins(
    first: sp.csr_matrix,
    second: sp.csr_matrix,
    *,
    jaccard: float = LEAST_JACCARD,
    buyers: int = FEWEST_BUYERS,
    same_domain: bool = False,
) -> Twins:
    """Return the pairs with J(a, b) = |A ∩ B| / |A ∪ B| ≥ `jaccard`, of items with at least `buyers` buyers each.

    The intersections are one sparse product, in blocks of items: exact, and linear in the pairs with a shared buyer.

    Args:
        first: (items, users) of ones, from `buyers_of`.
        second: (items, users) of the other domain.
        jaccard: least share, above 0.
        buyers: fewest buyers of each item.
        same_domain: the two are one domain; an item is no twin of itself, and a pair counts once.

    Raises:
        ValueError: `jaccard` is not in (0, 1], or the domains have other users.
    """
    if not 0 < jaccard <= 1:
        raise ValueError(f"jaccard: got {jaccard}, wants a share above 0 and at most 1")
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"{first.shape[1]} users in the first domain, {second.shape[1]} in the second")
    sizes = [np.diff(each.indptr) for each in (first, second)]
    many = [np.flatnonzero(size >= buyers) for size in sizes]
    others = second[many[1]].T.tocsr()
    found = []
    for start in range(0, len(many[0]), BLOCK):
        rows = many[0][start : start + BLOCK]
        product = (first[rows] @ others).tocoo()
        a, b = rows[product.row], many[1][product.col]
        shared = product.data.astype(np.int64)
        share = shared / (sizes[0][a] + sizes[1][b] - shared)
        kept = share >= jaccard
        if same_domain:
            kept &= a < b
        found.append((a[kept], b[kept], shared[kept], share[kept]))
    columns = [np.concatenate(column) for column in zip(*found, strict=True)] if found else [np.zeros(0, int)] * 4
    return Twins(*columns)


def leaked_rows(held_out: Log, other_train: Log, found: Twins) -> np.ndarray:
    """Return (n,) bool: whether the user of a held-out row has its item's twin among the other domain's training rows.

    Args:
        held_out: rows to test or validate on.
        other_train: training rows of the other domain.
        found: from `held_out`'s domain to the other.
    """
    shape = (held_out.items, held_out.items)
    twin_of = sp.csr_matrix((np.ones(len(found), np.float32), (found.first, found.second)), shape=shape)
    bought = other_train.matrix()
    return np.asarray(twin_of[held_out.item].multiply(bought[held_out.user]).sum(axis=1)).ravel() > 0


def merged(logs: list[Log], found: Twins) -> list[Log]:
    """Return the logs with every group of twins under the code of its first item, each user-item pair once per log."""
    items = logs[0].items
    graph = sp.csr_matrix((np.ones(len(found)), (found.first, found.second)), shape=(items, items))
    group = sp.csgraph.connected_components(graph, directed=False)[1]
    least = np.full(group.max() + 1, items)
    np.minimum.at(least, group, np.arange(items))
    code = least[group]
    return [_once(log, code[log.item]) for log in logs]


def _once(log: Log, item: np.ndarray) -> Log:
    _, rows = np.unique(log.user * log.items + item, return_index=True)
    rows = np.sort(rows)
    part = log.take(rows)
    return Log(part.name, part.user, item[rows], part.users, part.items, part.rating, part.time)
