"""What is held out of both domains, and which of it the other domain gives away, against loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tl_research.interactions.log import Log
from tl_research.interactions.task import dual_task, given_parts
from tl_research.interactions.training import Training
from tl_research.interactions.twin_rows import treat_twins
from tl_research.methods.purchases import Purchases
from tl_research.metrics.intervals import mean_interval, mean_of_means_interval
from tl_research.outcomes import PreferenceOutcome, outcome_from

USERS, ITEMS = 40, 30


def parts(random: np.random.Generator, name: str, first: int) -> tuple[Log, Log, Log]:
    """Each user buys five of the 15 items of a domain: three train, one validates, one tests."""
    item = first + np.stack([random.permutation(15)[:5] for _ in range(USERS)])

    def log(columns: slice) -> Log:
        chosen = item[:, columns]
        return Log(name, np.repeat(np.arange(USERS), chosen.shape[1]), chosen.ravel(), USERS, ITEMS)

    return log(slice(0, 3)), log(slice(3, 4)), log(slice(4, 5))


def with_twins(random: np.random.Generator):
    """The items 0 to 4 of the target are the items 15 to 19 of the source: the same users have them in both.

    In which part a purchase stands is drawn anew in the source.
    """
    target = parts(random, "new", 0)
    rows = [(u, i) for log in target for u, i in zip(log.user.tolist(), log.item.tolist(), strict=True)]
    copied = [(u, i + 15) for u, i in rows if i < 5]
    rest = [(u, i) for u in range(USERS) for i in (20 + random.permutation(10)[:4]).tolist()]
    user, item = np.array(copied + rest).T
    which = random.integers(0, 3, len(user))
    source = tuple(Log("old", user[which == k], item[which == k], USERS, ITEMS) for k in range(3))
    return target, source


def pairs(log: Log) -> set[tuple[int, int]]:
    return {*zip(log.user.tolist(), log.item.tolist(), strict=True)}


def test_a_row_is_given_away_by_the_other_domain_s_training_rows_alone():
    target, source = with_twins(np.random.default_rng(0))
    task = dual_task(target, source)
    assert pairs(task.sources[0]) == pairs(source[0])
    assert {*zip(task.twins.first.tolist(), task.twins.second.tolist(), strict=True)} == {(i, i + 15) for i in range(5)}
    for log, leaked in ((task.val, task.val_leaked), (task.test, task.test_leaked)):
        own = zip(log.user.tolist(), log.item.tolist(), strict=True)
        assert leaked.tolist() == [item < 5 and (user, item + 15) in pairs(source[0]) for user, item in own]
        assert 0 < leaked.sum() < len(leaked)
    held_out = task.of_source
    for log, leaked in ((held_out.val, held_out.val_leaked), (held_out.test, held_out.test_leaked)):
        own = zip(log.user.tolist(), log.item.tolist(), strict=True)
        assert leaked.tolist() == [item < 20 and (user, item - 15) in pairs(target[0]) for user, item in own]
        assert 0 < leaked.sum() < len(leaked)


@pytest.mark.parametrize("how", ["keep", "drop", "merge"])
def test_twins_of_both_domains_are_treated(how):
    target, source = with_twins(np.random.default_rng(0))
    task = dual_task(target, source)
    treated, facts = treat_twins(task, how)
    leaked = {
        "val": (task.val_leaked, task.of_source.val_leaked),
        "test": (task.test_leaked, task.of_source.test_leaked),
    }
    for name, masks in leaked.items():
        assert facts["given_away"][f"target_{name}"] == sum(int(mask.sum()) for mask in masks)
    found = treated.of_source
    assert pairs(treated.train) == pairs(target[0])
    if how == "keep":
        assert treated is task
        return
    assert not found.val_leaked.any()
    assert not found.test_leaked.any()
    for log, before, mask, other in (
        (treated.test, target[2], task.test_leaked, source[0]),
        (found.val, source[1], task.of_source.val_leaked, target[0]),
        (found.test, source[2], task.of_source.test_leaked, target[0]),
    ):
        assert len(log) == len(before) - mask.sum()
        known = {(user, item - 15 if item < 20 else item) for user, item in pairs(other)} if how == "merge" else set()
        assert not pairs(log) & known
        if how == "merge":
            assert not (set(range(15, 20)) & set(log.item.tolist()))


def test_domains_with_common_items_give_nothing_away():
    random = np.random.default_rng(1)
    task = dual_task(parts(random, "new", 0), parts(random, "old", 10))
    assert task.twins is None
    assert not any(mask.any() for mask in (task.val_leaked, task.test_leaked, task.of_source.test_leaked))


def test_what_is_seen_is_told_by_the_domain_where_items_are_shared():
    random = np.random.default_rng(1)
    task = dual_task(parts(random, "new", 0), parts(random, "old", 10))
    purchases = Purchases(1)
    purchases.learn(Training(task.train, task.sources))
    for domain, log in ((0, task.sources[0]), (1, task.train), (None, task.train)):
        shelf = purchases.shelf(domain)
        assert shelf.catalogue.tolist() == np.unique(log.item).tolist()
        start, place = shelf.seen_by(torch.tensor([3, 0]))
        for number, user in enumerate((3, 0)):
            found = shelf.catalogue[place[start[number] : start[number + 1]]].tolist()
            assert found == sorted(log.item[log.user == user].tolist())
    again = Purchases(1)
    again.load_state_dict(purchases.state_dict())
    assert torch.equal(again.shelf(0).seen_item, purchases.shelf(0).seen_item)


def test_given_parts_are_those_of_the_files():
    train, val, test = parts(np.random.default_rng(2), "new", 0)
    found = given_parts(train.joined(val), test, seed=3)
    assert pairs(found[0]) | pairs(found[1]) == pairs(train) | pairs(val)
    assert not pairs(found[0]) & pairs(found[1])
    assert sorted(found[1].user.tolist()) == list(range(USERS))
    assert found[2] is test


def test_an_interval_of_means_has_its_limits():
    random = np.random.default_rng(0)
    values, other = random.random((2, 50))
    units, zero = np.arange(50), np.zeros(50, int)
    assert mean_of_means_interval(units, zero, values) == pytest.approx(mean_interval(values), rel=1e-12)
    # The same users in both groups: the mean of the users' means. Others in each: variances add, over 4.
    both, groups = np.concatenate([values, other]), np.repeat([0, 1], 50)
    found = mean_of_means_interval(np.tile(units, 2), groups, both)
    assert found == pytest.approx(mean_interval((values + other) / 2), rel=1e-12)
    low, high = mean_of_means_interval(np.arange(100), groups, both)
    variance = (np.square(values - values.mean()).sum() + np.square(other - other.mean()).sum()) / 50**2 / 4 * 100 / 99
    assert ((high - low) / 2) ** 2 == pytest.approx(variance * 1.984217**2, rel=1e-5)
    assert mean_of_means_interval(np.zeros(2), np.arange(2), np.ones(2)) is None


def test_an_interval_of_means_covers():
    """Users in both groups, with a taste in common, and users of one alone; the share of 400 draws is 0.95 ± 0.033."""
    random = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        taste = random.normal(size=60)
        units, groups = np.concatenate([np.arange(50), np.arange(20, 60)]), np.repeat([0, 1], [50, 40])
        values = taste[units] + random.normal(size=90) + 3.0 * groups
        low, high = mean_of_means_interval(units, groups, values)
        hits += low < 1.5 < high
    assert abs(hits / 400 - 0.95) < 0.033


def test_a_figure_is_the_mean_over_the_domains():
    outcome = PreferenceOutcome(per_domain=True)
    assert outcome_from(outcome.state_dict()) == outcome
    outputs = torch.tensor([[1.0, 7, 0], [12.0, 7, 1], [3.0, 9, 1], [4.0, 5, 1]], dtype=torch.float64)
    metrics = outcome.metrics(outputs, torch.ones(4))
    assert metrics["recall10"] == pytest.approx((1 + 2 / 3) / 2)
    assert metrics["mrr10"] == pytest.approx((1 + (1 / 3 + 1 / 4) / 3) / 2)
    assert outcome.figure("recall10", outputs, torch.ones(4)) == metrics["recall10"]
    low, high = outcome.interval("recall10", metrics["recall10"], outputs, torch.ones(4))
    assert low < metrics["recall10"] < high
    alone = outcome.metrics(outputs[1:], torch.ones(3))
    assert alone == PreferenceOutcome().metrics(outputs[1:, :2], torch.ones(3))
    assert outcome.metrics(outputs[:0], torch.ones(0)) == {}
