"""The rank of every held-out item among all items that its user has not bought, in blocks of users."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch

from tl_research.interactions.log import Log
from tl_research.nn.ranking import mask_rows, mean_ranks

#: Scores (u, catalogue) float32 of a block of users for the items of a catalogue.
Scorer = Callable[[np.ndarray], np.ndarray]
#: Scores that are held at once: few enough that most of them stay in a processor's own memory.
BLOCK_SCORES = 4_000_000


@dataclass(frozen=True)
class Ranks:
    """One entry per held-out interaction, sorted by user.

    Fields:
        user: (n,) codes.
        item: (n,) codes.
        rank: (n,) float64 from 1 on: 1 + items that score higher + half of those that score the same, among the
            catalogue without what the user has bought in training; the user's other held-out items count.
        candidates: (n,) how many items were ranked for the user.
    """

    user: np.ndarray
    item: np.ndarray
    rank: np.ndarray
    candidates: np.ndarray


def full_ranks(score: Scorer, held_out: Log, seen: sp.csr_matrix, catalogue: np.ndarray) -> Ranks:
    """Rank the held-out items of every user among the whole catalogue.

    A held-out item outside the catalogue, which nothing could recommend, ranks behind it: its rank is the number of the
    user's candidates + 1. Ties share the mean of their ranks, so that a constant score ranks in the middle. A score
    that is not a number ranks last.

    Args:
        score: of a block of user codes, (u, len(catalogue)).
        held_out: interactions to rank.
        seen: (users, items) of ones: what is not recommended again.
        catalogue: (c,) sorted codes of the items that may be recommended.
    """
    order = np.lexsort((held_out.item, held_out.user))
    user, item = held_out.user[order], held_out.item[order]
    rank, candidates = np.empty(len(user)), np.empty(len(user), dtype=np.int64)
    place = np.full(held_out.items, -1)
    place[catalogue] = np.arange(len(catalogue))
    users, first = np.unique(user, return_index=True)
    bounds = np.append(first, len(user))
    block = max(1, BLOCK_SCORES // max(1, len(catalogue)))
    for start in range(0, len(users), block):
        of_block = users[start : start + block]
        scores = masked(score(of_block), of_block, seen, place)
        rows = slice(bounds[start], bounds[min(start + block, len(users))])
        at = np.searchsorted(of_block, user[rows])
        candidates[rows] = np.count_nonzero(scores != -np.inf, axis=1)[at]
        rank[rows] = mean_ranks(*map(torch.from_numpy, (scores, at, place[item[rows]]))).numpy()
    return Ranks(user, item, rank, candidates)


def masked(scores: np.ndarray, users: np.ndarray, seen: sp.csr_matrix, place: np.ndarray) -> np.ndarray:
    """Return the scores with -inf for what each user has bought, and the least finite number for nan.

    Args:
        scores: (u, c), changed in place.
        users: (u,) codes.
        seen: (users, items) of ones.
        place: (items,) place of an item in the catalogue, -1 outside.
    """
    bought = seen[users]
    starts, places = (torch.from_numpy(part.astype(np.int64)) for part in (bought.indptr, place[bought.indices]))
    return mask_rows(torch.from_numpy(scores), starts, places).numpy()


def top_items(score: Scorer, users: np.ndarray, seen: sp.csr_matrix, catalogue: np.ndarray, count: int) -> np.ndarray:
    """Return (u, count) item codes, best first, -1 where a user has fewer candidates; equal scores by lower code.

    Args:
        score: of a block of user codes.
        users: (u,) codes.
        seen: (users, items) of ones: what is not recommended again.
        catalogue: (c,) sorted codes of the items that may be recommended.
        count: items per user.
    """
    place = np.full(seen.shape[1], -1)
    place[catalogue] = np.arange(len(catalogue))
    count_there = min(count, len(catalogue))
    lists = np.full((len(users), count), -1)
    block = max(1, BLOCK_SCORES // max(1, len(catalogue)))
    for start in range(0, len(users), block):
        of_block = users[start : start + block]
        scores = masked(score(of_block), of_block, seen, place)
        lists[start : start + len(of_block), :count_there] = _top(scores, count_there, catalogue)
    return lists


def _top(scores: np.ndarray, count: int, catalogue: np.ndarray) -> np.ndarray:
    if count < scores.shape[1]:
        # All that score at least as much as the last of the list: of equal ones the lower code comes first.
        least = np.partition(scores, scores.shape[1] - count, axis=1)[:, scores.shape[1] - count]
    else:
        least = scores.min(axis=1)
    lists = np.full((len(scores), count), -1)
    for row, line in enumerate(scores):
        able = np.flatnonzero((line >= least[row]) & ~np.isneginf(line))
        best = able[np.argsort(-line[able], kind="stable")[:count]]
        lists[row, : len(best)] = catalogue[best]
    return lists
