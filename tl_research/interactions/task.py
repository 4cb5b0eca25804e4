"""One question to recommenders: what trains, what is held out, and which held-out rows the other domain gives away."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tl_research.interactions.content import Attributes
from tl_research.interactions.log import Log
from tl_research.interactions.splits import Split, cold_items, cold_users, leave_last_out
from tl_research.interactions.training import Training
from tl_research.interactions.twin_rule import TwinRule, calibrate
from tl_research.interactions.twins import Twins, buyers_of, leaked_rows, twins

#: Training, validation and test rows of one domain.
Parts = tuple[Log, Log, Log]
COLD = ("none", "users", "items")
#: Of the overlapping users (or of the items) that are held out cold.
COLD_SHARE = 0.2


@dataclass(frozen=True)
class HeldOut:
    """What is held out of a domain.

    Fields:
        val, test: rows to choose by and to test on.
        val_leaked, test_leaked: whether the user of a row has its twin in another domain.
    """

    val: Log
    test: Log
    val_leaked: np.ndarray
    test_leaked: np.ndarray


@dataclass(frozen=True)
class Task:
    """The target's interactions in three parts, the other domains, and the twins.

    Fields:
        train, val, test: of the target.
        sources: what trains of the other domains: their whole logs where nothing of them is held out.
        rule, twins: how twins were told, and the pairs, from the target's items to the sources'; None where the
            domains share their items by id, or there is no source.
        val_leaked, test_leaked: whether the user of a held-out row has its twin in a source.
        unsold: held-out items that the new shop's training rows lack, and that a source has or attributes are known
            of: they can be recommended.
        of_source: what is held out of the one source; None: the target alone is measured.
        attributes: of items, for recommenders that read them; None where there are none.
    """

    train: Log
    val: Log
    test: Log
    sources: tuple[Log, ...]
    rule: TwinRule | None
    twins: Twins | None
    val_leaked: np.ndarray
    test_leaked: np.ndarray
    unsold: tuple[int, ...] = ()
    of_source: HeldOut | None = None
    attributes: Attributes | None = None

    @property
    def to_choose(self) -> Training:
        """What a recommender learns from while options are chosen."""
        return Training(self.train, self.sources, self.unsold, self.attributes)

    @property
    def to_test(self) -> Training:
        """What the chosen one learns from before it is tested: the validation rows too."""
        return Training(self.train.joined(self.val), self.sources, self.unsold, self.attributes)


def make_task(
    target: Log, sources: tuple[Log, ...], *, cold: str, seed: int, described: np.ndarray | None = None
) -> Task:
    """Split the target and look for twins.

    Args:
        target: all interactions of the new shop.
        sources: those of the old shops, in the same codes.
        cold: `none`: each user's last interaction tests; `users`: all of a fifth of the users whom an old shop knows;
            `items`: all of the fifth of the items that appeared last.
        seed: of the split.
        described: codes of the items whose attributes are known.

    Raises:
        ValueError: too few users or items to hold out; of cold items no old shop knows one, and none is described.
    """
    split = _split(target, sources, cold, seed)
    train, val, test = split.logs(target)
    unsold = _unsold(target, split, sources, described) if cold == "items" else ()
    if not sources or _share_items(target, sources):
        return Task(train, val, test, sources, None, None, np.zeros(len(val), bool), np.zeros(len(test), bool), unsold)
    old = _joined(sources)
    rule, found = calibrate(buyers_of(target), buyers_of(old), seed=seed)
    leaked = (leaked_rows(part, old, found) for part in (val, test))
    return Task(train, val, test, sources, rule, found, *leaked, unsold)


def given_task(train: Log, test: Log, sources: tuple[Log, ...], *, seed: int) -> Task:
    """Return the task of files that come with their test rows; one training row of each user validates.

    Only users with three training rows or more validate. Twins are told by the fixed rule of `twins`, from the target's
    training and test rows to the sources' training rows.

    Args:
        train, test: of the target.
        sources: training rows of the other domains.
        seed: of the rows that validate.
    """
    old = _joined(sources)
    found = twins(buyers_of(train.joined(test)), buyers_of(old))
    parts = given_parts(train, test, seed=seed)
    return Task(*parts, sources, None, found, leaked_rows(parts[1], old, found), leaked_rows(test, old, found))


def given_parts(train: Log, test: Log, *, seed: int) -> Parts:
    """Return the parts of a domain whose files have test rows: of each user with three training rows one validates.

    Args:
        train, test: as the files have them.
        seed: of the rows that validate.
    """
    split = leave_last_out(replace(train, time=None), seed=seed)
    val = split.test[np.bincount(train.user, minlength=train.users)[train.user[split.test]] >= 3]
    return train.take(np.setdiff1d(np.arange(len(train)), val)), train.take(val), test


def dual_task(target: Parts, source: Parts) -> Task:
    """Return the task that holds out rows of both domains; twins are told by the fixed rule of `twins`, of all rows.

    A held-out row is given away where its user has the twin among the other domain's training rows.

    Args:
        target, source: their parts.
    """
    parts, others = target[1:], source[1:]
    if _share_items(_joined(target), (_joined(source),)):
        nowhere = [[np.zeros(len(log), bool) for log in pair] for pair in (parts, others)]
        return Task(*target, (source[0],), None, None, *nowhere[0], of_source=HeldOut(*others, *nowhere[1]))
    found = twins(buyers_of(_joined(target)), buyers_of(_joined(source)))
    leaked = [leaked_rows(log, source[0], found) for log in parts]
    of_source = HeldOut(*others, *(leaked_rows(log, target[0], found.reversed()) for log in others))
    return Task(*target, (source[0],), None, found, *leaked, of_source=of_source)


def dual_by_last(target: Log, source: Log, *, seed: int) -> Task:
    """Return the task that holds out the last purchases of each user in both domains (`leave_last_out`).

    Args:
        target, source: all their rows.
        seed: of the order of rows of equal time.
    """
    return dual_task(*(leave_last_out(log, seed=seed).logs(log) for log in (target, source)))


def cold_task(target: Log, sources: tuple[Log, ...], *, share: float, seed: int) -> Task:
    """Return the task whose test users are known to the sources alone; see `cold_users`.

    Args:
        target: all its rows.
        sources: rows of the other domains.
        share: of the overlapping users that test.
        seed: of the draw.
    """
    known = np.unique(np.concatenate([log.user for log in sources]))
    return split_task(cold_users(target, known, share=share, seed=seed), target, sources)


def split_task(split: Split, target: Log, sources: tuple[Log, ...]) -> Task:
    """Return the task of a split of the target; twins are told by the fixed rule of `twins`.

    Args:
        split: of the target's rows.
        target: all its rows.
        sources: rows of the other domains.
    """
    parts = split.logs(target)
    if _share_items(target, sources):
        none = (np.zeros(len(part), bool) for part in parts[1:])
        return Task(*parts, sources, None, None, *none)
    old = _joined(sources)
    found = twins(buyers_of(target), buyers_of(old))
    leaked = (leaked_rows(part, old, found) for part in parts[1:])
    return Task(*parts, sources, None, found, *leaked)


def _joined(logs: tuple[Log, ...]) -> Log:
    whole = logs[0]
    for log in logs[1:]:
        whole = whole.joined(log)
    return whole


def _split(target: Log, sources: tuple[Log, ...], cold: str, seed: int) -> Split:
    if cold == "users":
        known = np.unique(np.concatenate([log.user for log in sources])) if sources else np.zeros(0, int)
        return cold_users(target, known, share=COLD_SHARE, seed=seed)
    return cold_items(target, share=COLD_SHARE, seed=seed) if cold == "items" else leave_last_out(target, seed=seed)


def _unsold(target: Log, split: Split, sources: tuple[Log, ...], described: np.ndarray | None) -> tuple[int, ...]:
    held_out = [np.unique(target.item[rows]) for rows in (split.val, split.test)]
    none = np.zeros(0, dtype=np.int64)
    known = np.unique(np.concatenate([*(log.item for log in sources), none if described is None else described]))
    for items, of in zip(held_out, ("choose by", "test on"), strict=True):
        if not len(np.intersect1d(items, known)):
            raise ValueError(
                f"{target.name}: --cold items holds out {len(items):,} new items to {of}, and no old file has one of "
                "them; only an item that an old shop has sold under the same id, or whose attributes are known "
                "(--items, data.items), can be recommended before its first sale"
            )
    return tuple(np.intersect1d(np.concatenate(held_out), known).tolist())


def _share_items(target: Log, sources: tuple[Log, ...]) -> bool:
    return any(len(np.intersect1d(target.item, log.item)) for log in sources)
