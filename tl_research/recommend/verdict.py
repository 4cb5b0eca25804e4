"""Did the old shop help, by how much, for whom? One sentence and the figures behind it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import t as student_t

from tl_research.interactions.log import Log
from tl_research.interactions.task import Task
from tl_research.recommend.measure import CHOOSES, K, Measured, ordered

LEVEL = 0.95


@dataclass(frozen=True)
class Gain:
    """A mean paired difference over users, in the metric's own unit (between 0 and 1).

    Fields:
        new, old: means of the two sides: the best without the old shops, and with them.
        low, high: ends of the 95 % interval of old - new.
        users: that both have a value for.
    """

    new: float
    old: float
    low: float
    high: float
    users: int

    @property
    def mean(self) -> float:
        """old - new."""
        return self.old - self.new

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the fields; an end that is not finite is None, as in JSON."""
        return {name: value if np.isfinite(value) else None for name, value in asdict(self).items()}


def paired(old: np.ndarray, new: np.ndarray) -> Gain:
    """Return the gain over users and its t interval, mean ± t_{n-1} s / √n; with one user it is everything.

    Args:
        old, new: (n,) values per user.
    """
    difference = old - new
    count = len(difference)
    reach = np.inf
    if count > 1:
        reach = float(student_t.ppf((1 + LEVEL) / 2, count - 1) * difference.std(ddof=1) / np.sqrt(count))
    mean = float(difference.mean()) if count else 0.0
    return Gain(float(new.mean()), float(old.mean()), mean - reach, mean + reach, count)


@dataclass(frozen=True)
class Verdict:
    """The answer on one set of test rows.

    Fields:
        without, best: the candidates that validation chose without and with the old shops.
        gain: NDCG@10 of `best` over `without`.
        rows: of the test that are counted.
    """

    without: Measured
    best: Measured
    gain: Gain
    rows: np.ndarray

    @property
    def said(self) -> str:
        """The sentence."""
        gain = self.gain
        ends = f" [{_points(gain.low)}, {_points(gain.high)}]" if gain.users > 1 else ", of one test user"
        figures = (
            f"NDCG@{K} {100 * gain.old:.2f} (`{self.best.candidate.name}`) against {100 * gain.new:.2f} from the new "
            f"shop alone (`{self.without.candidate.name}`), "
            f"{_points(gain.mean)}{ends}"
        )
        if gain.low > 0:
            return f"The old shop helped: {figures}; use `{self.best.candidate.name}`."
        if gain.high < 0:
            return f"The old shop hurt: {figures}; use `{self.without.candidate.name}`."
        return f"No gain or loss from the old shop could be shown: {figures}; use `{self.use.candidate.name}`."

    @property
    def use(self) -> Measured:
        """The candidate to use: the one of validation, unless the test shows that it hurts."""
        if self.gain.high < 0:
            return self.without
        return self.best if self.best.validation > self.without.validation or self.gain.low > 0 else self.without


def decide(task: Task, measured: list[Measured], *, drop: bool) -> Verdict:
    """Compare the candidates that validation chose, over the test rows without (`drop`) or with those of twins.

    Raises:
        ValueError: no candidate uses the old shops, or no test row is left.
    """
    rows = counted_rows(task, drop=drop)
    if not len(rows):
        raise ValueError("no test row is left without the twins")
    sides = [[each for each in measured if each.candidate.uses_sources is uses] for uses in (False, True)]
    if not sides[1]:
        raise ValueError("no candidate uses the old shops")
    without, best = (max(side, key=lambda each: each.validation) for side in sides)
    values = [each.per_user(CHOOSES, rows)[1] for each in (best, without)]
    return Verdict(without, best, paired(*values), rows)


def counted_rows(task: Task, *, drop: bool) -> np.ndarray:
    """Return the places of the test rows that count, in the order of `Ranks`: without those of twins, or all."""
    leaked = ordered(task.test_leaked, task.test)
    return np.flatnonzero(~leaked) if drop else np.arange(len(task.test))


#: Users by their number of interactions in the new shop: up to so many.
FEW, SOME = 4, 10


def by_group(task: Task, verdict: Verdict) -> dict[str, Gain]:
    """Return the gain of each group of users: by what the new shop knows of them, and whether an old shop knows them.

    A group without a test user is left out.
    """
    users, old = verdict.best.per_user(CHOOSES, verdict.rows)
    new = verdict.without.per_user(CHOOSES, verdict.rows)[1]
    own = np.bincount(task.to_test.target.user, minlength=task.train.users)[users]
    elsewhere = _known(task.sources, task.train.users)[users]
    groups = {
        "unknown to the new shop": own == 0,
        f"1 to {FEW} purchases there": (own > 0) & (own <= FEW),
        f"{FEW + 1} to {SOME}": (own > FEW) & (own <= SOME),
        f"more than {SOME}": own > SOME,
        "known to an old shop": elsewhere,
        "not known to one": ~elsewhere,
    }
    return {name: paired(old[mask], new[mask]) for name, mask in groups.items() if mask.any()}


def _known(sources: tuple[Log, ...], users: int) -> np.ndarray:
    found = np.zeros(users, bool)
    for log in sources:
        found[log.user] = True
    return found


def _points(value: float) -> str:
    return f"{100 * value:+.2f}"
