"""Splits hold out what they say, and nothing twice."""

import numpy as np
import pytest

from tl_research.interactions.log import Log
from tl_research.interactions.splits import by_ratio, by_time, cold_items, cold_users, leave_last_out


def some_log(seed: int = 0, users: int = 60, items: int = 40, timed: bool = True) -> Log:
    draw = np.random.default_rng(seed)
    user, item = np.nonzero(draw.random((users, items)) < 0.1)
    return Log("new", user, item, users, items, time=draw.permutation(len(user)).astype(float) if timed else None)


def all_splits(log: Log) -> dict:
    return {
        "last": leave_last_out(log, seed=0),
        "ratio": by_ratio(log, test=0.2, val=0.1, seed=0),
        "time": by_time(log, test=0.2, val=0.1),
        "users": cold_users(log, np.arange(0, 60, 2), share=0.4, seed=0),
        "items": cold_items(log, share=0.2, seed=0),
    }


@pytest.mark.parametrize("name", ["last", "ratio", "time", "users", "items"])
def test_every_row_is_in_one_part(name):
    log = some_log()
    split = all_splits(log)[name]
    parts = [split.train, split.val, split.test]
    assert all(len(part) for part in parts)
    assert np.sort(np.concatenate(parts)).tolist() == list(range(len(log)))
    assert [len(part) for part in split.logs(log)] == [len(part) for part in parts]


def test_the_last_of_each_user_tests_and_the_one_before_it_validates():
    log = some_log()
    split = leave_last_out(log, seed=0)
    for user in range(60):
        rows = np.flatnonzero(log.user == user)
        in_time = rows[np.argsort(log.time[rows])]
        held = [set(rows) & set(part) for part in (split.test, split.val)]
        assert held[0] == (set(in_time[-1:]) if len(rows) >= 2 else set())
        assert held[1] == (set(in_time[-2:-1]) if len(rows) >= 3 else set())


def test_without_time_the_last_is_drawn():
    log = some_log(timed=False)
    one, other, again = (leave_last_out(log, seed=seed) for seed in (0, 1, 0))
    assert one.test.tolist() == again.test.tolist() != other.test.tolist()


def test_by_time_nothing_trains_that_came_later():
    log = some_log()
    split = by_time(log, test=0.2, val=0.1)
    assert log.time[split.train].max() < log.time[split.val].min()
    assert log.time[split.val].max() < log.time[split.test].min()
    assert len(split.test) == pytest.approx(0.2 * len(log), abs=1)
    with pytest.raises(ValueError, match="no time"):
        by_time(some_log(timed=False), test=0.2, val=0.1)


def test_cold_users_have_no_other_row_and_are_known_elsewhere():
    log, known = some_log(), np.arange(0, 60, 2)
    split = cold_users(log, known, share=0.4, seed=3)
    users = [set(log.user[part]) for part in (split.train, split.val, split.test)]
    assert not users[0] & (users[1] | users[2])
    assert not users[1] & users[2]
    assert (users[1] | users[2]) <= set(known)
    both = len(set(log.user) & set(known))
    assert len(users[2]) == round(0.4 * both)
    assert len(users[1]) == round(0.2 * both)


def test_cold_items_are_those_that_appeared_last():
    log = some_log()
    split = cold_items(log, share=0.2, seed=0)
    first = {item: log.time[log.item == item].min() for item in set(log.item)}
    parts = [[first[item] for item in set(log.item[rows])] for rows in (split.train, split.val, split.test)]
    assert max(parts[0]) < min(parts[1])
    assert max(parts[1]) < min(parts[2])


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_some_users_of_both_domains_train_however_many_test(share):
    log = some_log(users=100)
    split = cold_users(log, np.arange(100), share=share, seed=0)
    train, val, test = (len(np.unique(part.user)) for part in split.logs(log))
    both = len(log.own_users())
    assert test == round(share * both)
    assert val == round(min(share, 1 - share) / 2 * both)
    assert train == both - test - val


def test_too_few_to_hold_out_are_refused():
    with pytest.raises(ValueError, match="users in both domains, wants 4"):
        cold_users(some_log(), np.arange(3), share=0.5, seed=0)
