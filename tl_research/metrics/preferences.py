"""Metrics of what users prefer, in the mean over users, from the ranks of their held-out items."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tl_research.metrics.ranking import (
    UserRanks,
    average_precision,
    hit_rate,
    ndcg,
    precision,
    recall,
    reciprocal_rank,
)
from tl_research.metrics.registered import metric

#: Metric -> its function per user, and the length of the list.
AT: dict[str, tuple[Callable[[UserRanks, int], np.ndarray], int]] = {
    "ndcg10": (ndcg, 10),
    "recall10": (recall, 10),
    "hr10": (hit_rate, 10),
    "mrr10": (reciprocal_rank, 10),
    "map10": (average_precision, 10),
    "precision10": (precision, 10),
    "ndcg20": (ndcg, 20),
    "recall20": (recall, 20),
}


def _at(per_user: Callable[[UserRanks, int], np.ndarray], k: int) -> Callable[[UserRanks], float | None]:
    def mean_at_k(ranks: UserRanks) -> float | None:
        return float(per_user(ranks, k).mean()) if len(ranks.users) else None

    return mean_at_k


for _name, (_per_user, _k) in AT.items():
    metric(_name, better="high", of="preference", percent=True)(_at(_per_user, _k))
