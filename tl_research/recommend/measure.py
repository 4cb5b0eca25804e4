"""Candidates tried on validation users, the chosen ones tested once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp

from tl_research.interactions.log import Log
from tl_research.interactions.ranks import Ranks, full_ranks
from tl_research.metrics.ranking import PER_USER, UserRanks
from tl_research.recommend.candidates import Candidate
from tl_research.recommend.task import Task
from tl_research.recommenders.base import Recommender, Training

K = 10
#: Which metric chooses.
CHOOSES = "ndcg"


@dataclass
class Measured:
    """One candidate with its chosen options.

    Fields:
        candidate: what was tried.
        options: the chosen ones.
        validation: mean NDCG@10 over the validation users, by what is dropped.
        ranks: of the test rows; None before the test.
    """

    candidate: Candidate
    options: dict[str, Any]
    validation: float
    ranks: Ranks | None = None
    recommender: Recommender | None = field(default=None, repr=False)

    def per_user(self, metric: str, rows: np.ndarray, k: int = K) -> tuple[np.ndarray, np.ndarray]:
        """Return (users, values) of a metric of `metrics.ranking.PER_USER` over some of the test rows."""
        grouped = UserRanks.group(self.ranks.user[rows], self.ranks.rank[rows])
        return grouped.users, PER_USER[metric](grouped, k)


def choose(
    task: Task, found: Iterable[Candidate], *, drop: bool, seed: int, say: Callable[[str], None]
) -> list[Measured]:
    """Fit every candidate with every option to the training rows, and keep the best options by NDCG@10.

    Args:
        task: with a validation part.
        found: candidates.
        drop: whether validation rows with a twin in a source are left out.
        seed: of the recommenders.
        say: called with a line per candidate.
    """
    rows = ordered(task.val_leaked, task.val)
    kept = ~rows if drop and len(rows) else slice(None)
    measured = []
    for candidate in found:
        best: Measured | None = None
        for options in candidate.options:
            ranks = _ranks(candidate.make(**options), task.to_choose, task.val, seed)[1]
            grouped = UserRanks.group(ranks.user[kept], ranks.rank[kept])
            value = float(PER_USER[CHOOSES](grouped, K).mean()) if len(grouped.users) else 0.0
            if best is None or value > best.validation:
                best = Measured(candidate, options, value)
        measured.append(best)
        say(f"{candidate.name}: NDCG@{K} {100 * best.validation:.2f} on validation users")
    return measured


def test(task: Task, measured: Iterable[Measured], *, seed: int) -> None:
    """Fit the chosen options to training and validation rows, and rank the test rows."""
    for each in measured:
        made = each.candidate.make(**each.options)
        each.recommender, each.ranks = _ranks(made, task.to_test, task.test, seed)


def _ranks(made: Recommender, training: Training, held_out: Log, seed: int) -> tuple[Recommender, Ranks]:
    made.fit(training, seed=seed)
    return made, full_ranks(made.score, held_out, seen_of(training), made.catalogue)


def seen_of(training: Training) -> sp.csr_matrix:
    """Return what is not recommended again: what the user has in the target."""
    return training.own


def ordered(flags: np.ndarray, held_out: Log) -> np.ndarray:
    """Return flags of held-out rows in the order of `Ranks`: by user and item."""
    return flags[np.lexsort((held_out.item, held_out.user))] if len(flags) else flags
