"""Candidates tried on validation users, the chosen ones tested once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp

from tl_research.interactions.log import Log
from tl_research.interactions.ranks import Ranks, full_ranks
from tl_research.interactions.task import Task
from tl_research.interactions.training import Training
from tl_research.metrics.ranking import PER_USER, UserRanks
from tl_research.recommend.candidates import Candidate
from tl_research.recommenders.base import Recommender

K = 10
#: Which metric chooses.
CHOOSES = "ndcg"


@dataclass(frozen=True)
class Attempt:
    """One candidate with one choice of options, ranked on the validation rows."""

    candidate: Candidate
    options: dict[str, Any]
    ranks: Ranks

    def value(self, kept: np.ndarray) -> float:
        """Return the mean NDCG@10 of the validation users over the kept rows; 0 where there are none."""
        grouped = UserRanks.group(self.ranks.user[kept], self.ranks.rank[kept])
        return float(PER_USER[CHOOSES](grouped, K).mean()) if len(grouped.users) else 0.0


@dataclass
class Measured:
    """One candidate with its chosen options.

    Fields:
        candidate: what was tried.
        options: the chosen ones.
        validation: mean NDCG@10 over the validation users.
        ranks: of the test rows; None before the test.
        recommender: fitted to training and validation rows; None before the test.
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


def attempts(task: Task, found: Iterable[Candidate], *, seed: int, say: Callable[[str], None]) -> list[Attempt]:
    """Fit every candidate with every option to the training rows, and rank the validation rows.

    Args:
        task: with a validation part.
        found: candidates.
        seed: of the recommenders.
        say: called with a line per candidate.
    """
    made, training = [], task.to_choose
    for candidate in found:
        own = [
            Attempt(candidate, options, _ranks(candidate.make(**options), training, task.val, seed)[1])
            for options in candidate.options
        ]
        best = max(each.value(np.ones(len(task.val), bool)) for each in own)
        say(f"{candidate.name}: NDCG@{K} {100 * best:.2f} on validation users")
        made += own
    return made


def choose(task: Task, made: Sequence[Attempt], *, drop: bool) -> list[Measured]:
    """Return every candidate with its best options by NDCG@10; of equal ones the first.

    Args:
        task: with a validation part.
        made: from `attempts`.
        drop: whether validation rows with a twin in a source are left out.
    """
    leaked = ordered(task.val_leaked, task.val)
    kept = ~leaked if drop else np.ones(len(leaked), bool)
    best: dict[str, Measured] = {}
    for each in made:
        value = each.value(kept)
        name = each.candidate.name
        if name not in best or value > best[name].validation:
            best[name] = Measured(each.candidate, each.options, value)
    return list(best.values())


def test(task: Task, measured: Iterable[Measured], *, seed: int) -> None:
    """Fit the chosen options to training and validation rows, and rank the test rows; equal ones share the work."""
    done: dict[str, tuple[Recommender, Ranks]] = {}
    training = task.to_test
    for each in measured:
        key = f"{each.candidate.name} {each.options}"
        if key not in done:
            done[key] = _ranks(each.candidate.make(**each.options), training, task.test, seed)
        each.recommender, each.ranks = done[key]


def _ranks(made: Recommender, training: Training, held_out: Log, seed: int) -> tuple[Recommender, Ranks]:
    made.fit(training, seed=seed)
    return made, full_ranks(made.score, held_out, seen_of(training), made.catalogue)


def seen_of(training: Training) -> sp.csr_matrix:
    """Return what is not recommended again: what the user has in the target."""
    return training.own


def ordered(flags: np.ndarray, held_out: Log) -> np.ndarray:
    """Return flags of held-out rows in the order of `Ranks`: by user and item."""
    return flags[np.lexsort((held_out.item, held_out.user))]
