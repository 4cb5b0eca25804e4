"""What everybody buys: the first line that every recommender is held against."""

from __future__ import annotations

import numpy as np

from tl_research.interactions.training import Training
from tl_research.recommenders.base import Recommender, sums


class Popularity(Recommender):
    """score(u, i) = buyers of i; with `recent`, those of the latest share of the interactions alone.

    Args:
        recent: share of the target's interactions that count, the latest ones; 1: all. A log without time counts whole.
        use_sources: whether buyers in the other domains count too (of shared items).
    """

    def __init__(self, recent: float = 1.0, use_sources: bool = False):
        super().__init__()
        if not 0 < recent <= 1:
            raise ValueError(f"recent: got {recent}, wants a share above 0 and at most 1")
        self.recent, self.use_sources = recent, use_sources

    def learn(self, training: Training, seed: int) -> None:
        log = training.target
        if self.recent < 1 and log.time is not None:
            log = log.take(log.time >= np.quantile(log.time, 1 - self.recent))
        count = sums(log.matrix(), 0)
        if self.use_sources:
            count = count + sums(training.other, 0)
        self.line = count[self.catalogue].astype(np.float32)

    def score(self, users: np.ndarray) -> np.ndarray:
        return np.tile(self.line, (len(users), 1))
