"""The rank of every held-out item among a few frozen negatives: for comparison with published tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tl_research.interactions.log import Log
from tl_research.interactions.ranks import BLOCK_SCORES, Ranks, Scorer

#: Negatives per held-out row, as published tables have them.
COUNT = 99


@dataclass(frozen=True)
class Negatives:
    """Held-out rows, each with the items that it is ranked among.

    Fields:
        user, item: (n,) int64 codes of the held-out rows.
        negative: (n, k) int64 codes of items.
    """

    user: np.ndarray
    item: np.ndarray
    negative: np.ndarray

    def __post_init__(self):
        if self.item.shape != self.user.shape or self.negative.shape[:1] != self.user.shape or self.negative.ndim != 2:
            shapes = f"user {self.user.shape}, item {self.item.shape}, negative {self.negative.shape}"
            raise ValueError(f"{shapes}: wants (n,), (n,) and (n, k)")

    def __len__(self) -> int:
        return len(self.user)

    def sorted(self) -> Negatives:
        """Return the rows by user and item."""
        return self.take(np.lexsort((self.item, self.user)))

    def take(self, rows: np.ndarray) -> Negatives:
        """Return some rows (places, or a mask)."""
        return Negatives(self.user[rows], self.item[rows], self.negative[rows])


def sampled_ranks(score: Scorer, frozen: Negatives, catalogue: np.ndarray, *, ties: float = 0.5) -> Ranks:
    """Rank every held-out item among its own negatives.

    rank = 1 + #{j: s_j > s_i} + ties · #{j: s_j = s_i}, over the row's k negatives j. Items outside the catalogue,
    held out or negative, score less than all within it, and the same among each other. A score that is no number is
    the least finite one. The held-out item itself, where it stands among its negatives, is not counted.

    Args:
        score: of a block of user codes, (u, len(catalogue)).
        frozen: rows to rank, with their negatives.
        catalogue: (c,) sorted codes of the items that `score` knows.
        ties: share of the equal negatives that stand before the held-out item. 0.5: the mean rank, as the full ranking
            has it; 0: the best rank, which published code often takes; 1: the worst.

    Returns:
        Rows sorted by user and item; `candidates` is k + 1, less where the item stands among its negatives.

    Reference:
        He et al. 2017, WWW (99 negatives per held-out item); Krichene & Rendle 2020, KDD, on why figures of it and of
        the full ranking can order methods differently.
    """
    frozen = frozen.sorted()
    rank, is_other = np.empty(len(frozen)), frozen.negative != frozen.item[:, None]
    users, first = np.unique(frozen.user, return_index=True)
    bounds = np.append(first, len(frozen))
    block = max(1, BLOCK_SCORES // max(1, len(catalogue)))
    for start in range(0, len(users), block):
        of_block = users[start : start + block]
        rows = slice(bounds[start], bounds[min(start + block, len(users))])
        scores = _finite(score(of_block))
        row = np.searchsorted(of_block, frozen.user[rows])
        own = _of_items(scores, row[:, None], frozen.item[rows][:, None], catalogue)
        others = _of_items(scores, row[:, None], frozen.negative[rows], catalogue)
        equal = (others == own) & is_other[rows]
        rank[rows] = 1 + (others > own).sum(axis=1) + ties * equal.sum(axis=1)
    return Ranks(frozen.user, frozen.item, rank, 1 + is_other.sum(axis=1))


def _finite(scores: np.ndarray) -> np.ndarray:
    limits = np.finfo(scores.dtype)
    return np.nan_to_num(scores, nan=limits.min, posinf=limits.max, neginf=limits.min)


def _of_items(scores: np.ndarray, row: np.ndarray, item: np.ndarray, catalogue: np.ndarray) -> np.ndarray:
    """Return the scores of item codes, -inf outside the catalogue."""
    place = np.minimum(np.searchsorted(catalogue, item), len(catalogue) - 1)
    return np.where(catalogue[place] == item, scores[row, place], -np.inf)


def draw_negatives(held_out: Log, whole: Log, *, count: int = COUNT, seed: int) -> Negatives:
    """Draw negatives once for every held-out row: different items that its user has nowhere in the domain.

    Args:
        held_out: rows to be ranked.
        whole: all interactions of the domain, the held-out ones too; its items are drawn from, all alike.
        count: negatives per row.
        seed: of the draw. The rows are drawn in order of user and item.

    Raises:
        ValueError: a user has bought so much that fewer than `count` items are left.
    """
    items, bought = whole.own_items(), whole.matrix()
    order = np.lexsort((held_out.item, held_out.user))
    user, item = held_out.user[order], held_out.item[order]
    negative = np.empty((len(user), count), dtype=np.int64)
    random = np.random.default_rng(seed)
    for row, code in enumerate(user):
        able = np.setdiff1d(items, bought.indices[bought.indptr[code] : bought.indptr[code + 1]])
        if len(able) < count:
            raise ValueError(
                f"{whole.name}: {len(able)} items that user {code} has not bought, wants {count} negatives"
            )
        negative[row] = random.permutation(able)[:count]
    return Negatives(user, item, negative)
