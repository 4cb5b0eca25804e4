"""Metrics of ranked lists, from the ranks of the held-out items alone.

A user's held-out items have ranks from 1 on (`interactions.ranks`). A user without a held-out item has no value and is
no part of a mean. Ranks may be halves, where items tie: they count as they stand, so that a tie over the end of the
list counts as outside where its mean rank is beyond K.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class UserRanks:
    """Ranks grouped by user.

    Fields:
        users: (u,) distinct user codes, sorted.
        rank: (n,) ranks, sorted by user and rank.
        of: (n,) place of each rank's user in `users`.
        count: (u,) held-out items per user, at least 1.
    """

    users: np.ndarray
    rank: np.ndarray
    of: np.ndarray
    count: np.ndarray

    @classmethod
    def group(cls, user: np.ndarray, rank: np.ndarray) -> UserRanks:
        """Group (n,) ranks by (n,) users."""
        order = np.lexsort((rank, user))
        users, of, count = np.unique(user[order], return_inverse=True, return_counts=True)
        return cls(users, rank[order], of, count)

    def sums(self, value: np.ndarray) -> np.ndarray:
        """Return (u,) the sum of (n,) values per user."""
        return np.bincount(self.of, weights=value, minlength=len(self.users))

    @property
    def number(self) -> np.ndarray:
        """(n,) 1, 2, ... within each user, by rank."""
        first = np.concatenate([[0], np.cumsum(self.count)[:-1]])
        return np.arange(len(self.rank)) - first[self.of] + 1


def hit_rate(ranks: UserRanks, k: int) -> np.ndarray:
    """HR@K of each user: 1 where any held-out item is among the first K."""
    return (ranks.sums((ranks.rank <= k).astype(float)) > 0).astype(float)


def recall(ranks: UserRanks, k: int) -> np.ndarray:
    """Recall@K of each user: hits among the first K / held-out items. K beyond the catalogue gives 1."""
    return ranks.sums((ranks.rank <= k).astype(float)) / ranks.count


def precision(ranks: UserRanks, k: int) -> np.ndarray:
    """Precision@K of each user: hits among the first K / K, also where fewer than K items can be listed."""
    return ranks.sums((ranks.rank <= k).astype(float)) / k


def ndcg(ranks: UserRanks, k: int) -> np.ndarray:
    """NDCG@K of each user: Σ_hits 1 / log2(1 + rank), over that of the best list of K.

    Reference:
        Jarvelin & Kekalainen 2002, ACM TOIS 20(4), with gains of 0 and 1.
    """
    gained = ranks.sums(np.where(ranks.rank <= k, 1 / np.log2(1 + ranks.rank), 0.0))
    ideal = np.cumsum(1 / np.log2(1 + np.arange(1, k + 1)))
    return gained / ideal[np.minimum(ranks.count, k) - 1]


def reciprocal_rank(ranks: UserRanks, k: int) -> np.ndarray:
    """MRR@K's term of each user: 1 / rank of the best held-out item, 0 beyond K."""
    best = ranks.rank[ranks.number == 1]
    return np.where(best <= k, 1 / best, 0.0)


def average_precision(ranks: UserRanks, k: int) -> np.ndarray:
    """AP@K of each user: Σ_hits (hits so far / rank) / min(K, held-out items)."""
    gained = ranks.sums(np.where(ranks.rank <= k, ranks.number / ranks.rank, 0.0))
    return gained / np.minimum(ranks.count, k)


#: Name -> function of (ranks, K) that gives one value per user.
PER_USER = {
    "recall": recall,
    "ndcg": ndcg,
    "hit_rate": hit_rate,
    "mrr": reciprocal_rank,
    "map": average_precision,
    "precision": precision,
}


def coverage(lists: np.ndarray, catalogue: int) -> float:
    """Share of the catalogue that is in at least one list.

    Args:
        lists: (u, k) item codes, -1 for none.
        catalogue: number of items that may be recommended.
    """
    return len(np.unique(lists[lists >= 0])) / catalogue


def novelty(lists: np.ndarray, buyers: np.ndarray, users: int) -> float:
    """Mean self-information of the listed items in bits, -log2((buyers + 1) / (users + 1)); 1 is added for unseen ones.

    Args:
        lists: (u, k) item codes, -1 for none.
        buyers: (items,) training buyers of each item.
        users: training users.

    Reference:
        Zhou et al. 2010, PNAS 107(10), equation 3.
    """
    listed = lists[lists >= 0]
    return float(-np.log2((buyers[listed] + 1) / (users + 1)).mean()) if len(listed) else 0.0


def popularity_bias(lists: np.ndarray, buyers: np.ndarray, catalogue: np.ndarray) -> float:
    """Mean training buyers of the listed items over the mean of the catalogue's: 1 is neutral, above favours sellers.

    Args:
        lists: (u, k) item codes, -1 for none.
        buyers: (items,) training buyers of each item.
        catalogue: (c,) codes of the items that may be recommended.
    """
    mean = buyers[catalogue].mean()
    listed = lists[lists >= 0]
    return float(buyers[listed].mean() / mean) if len(listed) and mean > 0 else 0.0
