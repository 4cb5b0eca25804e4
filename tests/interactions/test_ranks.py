"""Ranks and ranking metrics against loops over users and items."""

import numpy as np
import pytest
import scipy.sparse as sp

from tl_research.interactions.log import Log
from tl_research.interactions.ranks import full_ranks, top_items
from tl_research.metrics.ranking import PER_USER, UserRanks, coverage, novelty, popularity_bias


def problem(seed: int, ties: bool):
    draw = np.random.default_rng(seed)
    users, items = 25, 30
    bought = draw.random((users, items)) < 0.15
    held = (draw.random((users, items)) < 0.1) & ~bought
    scores = draw.normal(size=(users, items)).astype(np.float32)
    if ties:
        scores = np.round(scores)
    catalogue = np.sort(draw.permutation(items)[:26])
    user, item = np.nonzero(held)
    order = draw.permutation(len(user))
    return (
        scores,
        Log("new", user[order], item[order], users, items),
        sp.csr_matrix(bought.astype(np.float32)),
        catalogue,
    )


def rank_by_loops(scores, log, seen, catalogue):
    ranks = {}
    for user, item in zip(log.user, log.item, strict=True):
        able = [code for code in catalogue if not seen[user, code]]
        if item not in able:
            ranks[user, item] = len(able) + 1
            continue
        higher = sum(scores[user, code] > scores[user, item] for code in able)
        equal = sum(scores[user, code] == scores[user, item] for code in able) - 1
        ranks[user, item] = 1 + higher + equal / 2
    return ranks


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_ranks_are_those_of_loops(monkeypatch, seed, ties):
    monkeypatch.setattr("tl_research.interactions.ranks.BLOCK_SCORES", 100)
    scores, log, seen, catalogue = problem(seed, ties)
    found = full_ranks(lambda users: scores[users][:, catalogue], log, seen, catalogue)
    wanted = rank_by_loops(scores, log, seen, catalogue)
    assert {(u, i): r for u, i, r in zip(found.user, found.item, found.rank, strict=True)} == wanted
    assert (found.candidates == [(~seen[u].toarray()[0].astype(bool))[catalogue].sum() for u in found.user]).all()


def test_a_constant_score_ranks_in_the_middle_and_nan_last():
    log, seen = Log("new", np.array([0]), np.array([4]), 1, 11), sp.csr_matrix((1, 11), dtype=np.float32)
    constant = full_ranks(lambda users: np.zeros((1, 11), np.float32), log, seen, np.arange(11))
    assert constant.rank.tolist() == [6.0]
    scores = np.zeros((1, 11), np.float32)
    scores[0, 4] = np.nan
    assert full_ranks(lambda users: scores.copy(), log, seen, np.arange(11)).rank.tolist() == [11.0]


@pytest.mark.parametrize("count", [1, 4, 26, 40])
@pytest.mark.parametrize("ties", [False, True])
def test_top_items_are_the_sorted_candidates(count, ties):
    scores, _log, seen, catalogue = problem(0, ties)
    lists = top_items(lambda users: scores[users][:, catalogue], np.arange(25), seen, catalogue, count)
    for user, found in enumerate(lists):
        able = [code for code in catalogue if not seen[user, code]]
        wanted = sorted(able, key=lambda code: (-scores[user, code], code))[:count]
        assert found.tolist() == wanted + [-1] * (count - len(wanted))


def by_loops(name: str, ranks: list[float], k: int) -> float:
    ranks = sorted(ranks)
    hits = [rank for rank in ranks if rank <= k]
    if name == "recall":
        return len(hits) / len(ranks)
    if name == "precision":
        return len(hits) / k
    if name == "hit_rate":
        return float(bool(hits))
    if name == "mrr":
        return 1 / ranks[0] if hits else 0.0
    if name == "map":
        return sum((number + 1) / rank for number, rank in enumerate(hits)) / min(k, len(ranks))
    best = sum(1 / np.log2(1 + place) for place in range(1, min(k, len(ranks)) + 1))
    return sum(1 / np.log2(1 + rank) for rank in hits) / best


@pytest.mark.parametrize("k", [1, 5, 100])
@pytest.mark.parametrize("name", PER_USER)
def test_metrics_are_those_of_loops(name, k):
    scores, log, seen, catalogue = problem(1, True)
    found = full_ranks(lambda users: scores[users][:, catalogue], log, seen, catalogue)
    ranks = UserRanks.group(found.user, found.rank)
    wanted = [by_loops(name, list(found.rank[found.user == user]), k) for user in ranks.users]
    np.testing.assert_allclose(PER_USER[name](ranks, k), wanted)
    assert len(ranks.users) == len(set(log.user))


def test_metrics_are_those_of_ranx():
    ranx = pytest.importorskip("ranx")
    scores, log, seen, catalogue = problem(2, False)
    found = full_ranks(lambda users: scores[users][:, catalogue], log, seen, catalogue)
    ranks = UserRanks.group(found.user, found.rank)
    inside = np.isin(log.item, catalogue)
    relevant = {str(u): {} for u in set(log.user)}
    for user, item in zip(log.user, log.item, strict=True):
        relevant[str(user)][str(item)] = 1
    lists = {str(u): {str(c): float(scores[u, c]) for c in catalogue if not seen[u, c]} for u in ranks.users}
    assert inside.any()
    names = {"recall": "recall", "ndcg": "ndcg", "hit_rate": "hit_rate", "mrr": "mrr", "precision": "precision"}
    for ours, theirs in names.items():
        value = ranx.evaluate(ranx.Qrels(relevant), ranx.Run(lists), f"{theirs}@10")
        assert PER_USER[ours](ranks, 10).mean() == pytest.approx(value)


def test_lists_are_counted():
    lists, buyers = np.array([[0, 1], [1, -1]]), np.array([3, 1, 0, 0])
    assert coverage(lists, 4) == 0.5
    assert novelty(lists, buyers, 3) == pytest.approx(-np.log2([1, 0.5, 0.5]).mean())
    assert popularity_bias(lists, buyers, np.arange(4)) == pytest.approx((5 / 3) / 1)
