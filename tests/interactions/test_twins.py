"""Twins against loops over pairs, and planted ones among products that only look alike by chance."""

import numpy as np
import pytest

from tl_research.interactions.log import Log
from tl_research.interactions.twin_rule import calibrate
from tl_research.interactions.twins import Twins, buyers_of, leaked_rows, merged, twins


def random_log(draw, name: str, users: int, first: int, items: int, total: int, share: float = 0.08) -> Log:
    user, item = np.nonzero(draw.random((users, items)) < share)
    return Log(name, user, item + first, users, total)


def by_loops(first, second, jaccard, buyers, same_domain=False):
    found = set()
    for a, left in enumerate(first.toarray().astype(bool)):
        for b, right in enumerate(second.toarray().astype(bool)):
            if (same_domain and a >= b) or min(left.sum(), right.sum()) < max(1, buyers):
                continue
            if (left & right).sum() / (left | right).sum() >= jaccard:
                found.add((a, b))
    return found


@pytest.mark.parametrize("same_domain", [False, True])
@pytest.mark.parametrize(("jaccard", "buyers"), [(0.1, 1), (0.2, 2), (0.5, 1)])
def test_twins_are_those_of_loops_over_all_pairs(monkeypatch, jaccard, buyers, same_domain):
    monkeypatch.setattr("tl_research.interactions.twins.BLOCK", 7)
    draw = np.random.default_rng(0)
    one, two = (buyers_of(random_log(draw, name, 30, 0, 25, 25, 0.15)) for name in "ab")
    other = one if same_domain else two
    found = twins(one, other, jaccard=jaccard, buyers=buyers, same_domain=same_domain)
    wanted = by_loops(one, other, jaccard, buyers, same_domain)
    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == wanted
    assert wanted


def planted(seed: int, pairs: int = 60, users: int = 3000, items: int = 800):
    """Two shops; the first `pairs` items of both are one product, bought under one id or both by 9 of 10 buyers."""
    draw = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, items + 1) ** 0.7
    shop = [draw.random((users, items)) < 0.02 * popularity / popularity.mean() for _ in range(2)]
    for item in draw.permutation(items)[:pairs]:
        buyers = draw.random(users) < draw.uniform(0.003, 0.02)
        shop[0][:, item], shop[1][:, item] = buyers & (draw.random(users) < 0.97), buyers & (draw.random(users) < 0.97)
        yield item
    yield [Log(name, *np.nonzero(bought), users, items) for name, bought in zip("ab", shop, strict=True)]


@pytest.mark.parametrize("seed", range(3))
def test_planted_twins_are_found_and_nothing_else(seed):
    *items, logs = planted(seed)
    one, two = map(buyers_of, logs)
    rule, found = calibrate(one, two)
    assert rule.holds
    sizes = np.diff(one.indptr), np.diff(two.indptr)
    able = {item for item in items if min(sizes[0][item], sizes[1][item]) >= max(5, rule.buyers)}
    pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    right = {(item, item) for item in items}
    assert len(able) >= 40
    assert len({(item, item) for item in able} & pairs) >= 0.95 * len(able)
    assert len(pairs - right) <= 0.01 * len(pairs)


@pytest.mark.parametrize("seed", range(3))
def test_shops_without_twins_have_none(seed):
    draw = np.random.default_rng(seed)
    one, two = (buyers_of(random_log(draw, name, 2000, 0, 300, 300, 0.01)) for name in "ab")
    assert len(calibrate(one, two)[1]) == 0


def test_a_leaked_row_is_one_whose_twin_the_user_bought_elsewhere():
    held_out = Log("new", np.array([0, 1, 2]), np.array([0, 0, 1]), 3, 4)
    other = Log("old", np.array([0, 2, 1]), np.array([2, 2, 3]), 3, 4)
    pair = Twins(np.array([0]), np.array([2]), np.array([5]), np.array([1.0]))
    assert leaked_rows(held_out, other, pair).tolist() == [True, False, False]


def test_merged_twins_are_one_item_and_a_pair_counts_once():
    log = Log("a", np.array([0, 0, 1]), np.array([1, 3, 3]), 2, 4, time=np.array([1.0, 2.0, 3.0]))
    pair = Twins(np.array([1]), np.array([3]), np.array([5]), np.array([1.0]))
    (found,) = merged([log], pair)
    assert found.item.tolist() == [1, 1]
    assert found.user.tolist() == [0, 1]
    assert found.time.tolist() == [1.0, 3.0]


def test_a_share_that_is_none_is_refused():
    log = random_log(np.random.default_rng(0), "a", 5, 0, 5, 5)
    with pytest.raises(ValueError, match="jaccard"):
        twins(buyers_of(log), buyers_of(log), jaccard=0.0)
