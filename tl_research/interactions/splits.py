"""Which interactions of the target train, validate and test; and what a cold user or item is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tl_research.interactions.log import Log

#: Where a share s of the users (or items) tests, this part of the smaller of s and 1 - s validates: some always train.
VALIDATION_PART = 0.5


@dataclass(frozen=True)
class Split:
    """Rows of the target log (places); the three are disjoint.

    Fields:
        train, val, test: sorted places.
    """

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray

    def logs(self, log: Log) -> tuple[Log, Log, Log]:
        """Return the three logs."""
        return log.take(self.train), log.take(self.val), log.take(self.test)


def leave_last_out(log: Log, *, seed: int) -> Split:
    """Hold out each user's last interaction to test on, and the last but one to validate on.

    Interactions of equal time, or of a log without time, are in random order. A user with two interactions has one to
    test on and none to validate on; a user with one only trains.
    """
    order = _by_user_and_time(log, seed)
    user = log.user[order]
    last = np.append(user[1:] != user[:-1], True) if len(user) else np.zeros(0, bool)
    from_end = _places_from_end(user, last)
    size = np.bincount(log.user, minlength=log.users)[user]
    test = order[(from_end == 0) & (size >= 2)]
    val = order[(from_end == 1) & (size >= 3)]
    return _rest_trains(log, val, test)


def by_ratio(log: Log, *, test: float, val: float, seed: int) -> Split:
    """Hold out a share of the interactions at random, whoever their user is.

    Args:
        log: of the target.
        test, val: shares of the rows.
        seed: of the draw.
    """
    order = np.random.default_rng(seed).permutation(len(log))
    cuts = round(test * len(log)), round((test + val) * len(log))
    return _rest_trains(log, order[cuts[0] : cuts[1]], order[: cuts[0]])


def by_time(log: Log, *, test: float, val: float) -> Split:
    """Hold out the latest share of the interactions, and the share before it: nothing is learnt from what came later.

    Rows of equal time stay together on the earlier side.

    Raises:
        ValueError: the log has no time.
    """
    if log.time is None:
        raise ValueError(f"{log.name}: has no time to split by")
    ends = np.quantile(log.time, [1 - test - val, 1 - test], method="higher")
    return Split(
        np.flatnonzero(log.time <= ends[0]),
        np.flatnonzero((log.time > ends[0]) & (log.time <= ends[1])),
        np.flatnonzero(log.time > ends[1]),
    )


def cold_users(log: Log, known: np.ndarray, *, share: float, seed: int) -> Split:
    """Hold out every target interaction of a share of the users that the other domains know.

    Half as many further users of them validate, or half of the others, whichever are fewer. What is held out is gone
    from training: the target knows nothing of these users.

    Args:
        log: of the target.
        known: user codes of the other domains.
        share: of the overlapping users that test.
        seed: of the draw.

    Raises:
        ValueError: fewer than four users overlap.
    """
    both = np.intersect1d(log.own_users(), known)
    return _of_codes(log, log.user, both, share, seed, "users in both domains")


def cold_items(log: Log, *, share: float, seed: int) -> Split:
    """Hold out every interaction of the share of items that appeared last (without time: of random items).

    Args:
        log: of the target.
        share: of the items that test; half as many that appeared just before them validate.
        seed: of the order where times are equal or there are none.

    Raises:
        ValueError: fewer than four items.
    """
    items = log.own_items()
    if log.time is None:
        return _of_codes(log, log.item, items, share, seed, "items")
    first = np.full(log.items, np.inf)
    np.minimum.at(first, log.item, log.time)
    order = np.random.default_rng(seed).permutation(len(items))
    newest = items[order][np.argsort(-first[items[order]], kind="stable")]
    return _held_out(log, log.item, newest, share, "items")


def _of_codes(log: Log, column: np.ndarray, codes: np.ndarray, share: float, seed: int, what: str) -> Split:
    return _held_out(log, column, np.random.default_rng(seed).permutation(codes), share, what)


def _held_out(log: Log, column: np.ndarray, order: np.ndarray, share: float, what: str) -> Split:
    if len(order) < 4:
        raise ValueError(f"{log.name}: {len(order)} {what}, wants 4 or more")
    test = max(1, round(share * len(order)))
    val = min(max(1, round(VALIDATION_PART * min(share, 1 - share) * len(order))), len(order) - test)
    in_test, in_val = (np.isin(column, part) for part in (order[:test], order[test : test + val]))
    return _rest_trains(log, np.flatnonzero(in_val), np.flatnonzero(in_test))


def _rest_trains(log: Log, val: np.ndarray, test: np.ndarray) -> Split:
    trains = np.ones(len(log), bool)
    trains[val] = trains[test] = False
    return Split(np.flatnonzero(trains), np.sort(val), np.sort(test))


def _by_user_and_time(log: Log, seed: int) -> np.ndarray:
    shuffled = np.random.default_rng(seed).permutation(len(log))
    time = np.zeros(len(log)) if log.time is None else log.time
    return shuffled[np.lexsort((time[shuffled], log.user[shuffled]))]


def _places_from_end(user: np.ndarray, last: np.ndarray) -> np.ndarray:
    ends = np.flatnonzero(last)
    sizes = np.diff(np.append(-1, ends))
    return np.repeat(ends, sizes) - np.arange(len(user))
