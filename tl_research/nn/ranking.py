"""Ranks within rows of scores, and the best of each row, without what a user has already."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

#: Scores that are compared at once; on a processor few enough to stay in its own memory.
BLOCK, CPU_BLOCK = 1 << 24, 1 << 18


def mask_rows(scores: Tensor, start: Tensor, place: Tensor) -> Tensor:
    """Put -inf where a row has something already, in place.

    Args:
        scores: (u, c); what is no number becomes the least finite one.
        start: (u + 1,) int64; row r has `place[start[r]:start[r + 1]]`.
        place: (k,) columns; -1 for none.
    """
    limits = torch.finfo(scores.dtype)
    torch.nan_to_num(scores, nan=limits.min, posinf=limits.max, neginf=limits.min, out=scores)
    row = torch.repeat_interleave(torch.arange(len(scores), device=scores.device), start.diff())
    inside = place >= 0
    scores[row[inside], place[inside]] = -torch.inf
    return scores


def mean_ranks(scores: Tensor, row: Tensor, place: Tensor) -> Tensor:
    """Return the rank (n,) float64 of one column each of some rows: 1 + higher columns + half of the other equal ones.

    A column of -inf, and place -1, rank behind every finite column.

    Args:
        scores: (u, c), -inf where a column is no candidate.
        row: (n,) int64.
        place: (n,) int64 column, -1 for none.
    """
    rank = torch.empty(len(row), dtype=torch.float64, device=scores.device)
    behind = torch.zeros(len(row), dtype=torch.bool, device=scores.device)
    block = CPU_BLOCK if scores.device.type == "cpu" else BLOCK
    step = max(1, block // max(1, scores.shape[1]))
    for first in range(0, len(row), step):
        part = slice(first, first + step)
        line, at = scores[row[part]], place[part]
        own = line.gather(1, at.clamp_min(0)[:, None])
        behind[part] = (at < 0) | own[:, 0].isneginf()
        rank[part] = 1 + _count(line > own) + (_count(line == own) - 1) / 2
    if behind.any():
        candidates = _count(scores != -torch.inf)
        rank[behind] = 1 + candidates[row[behind]]
    return rank


def _count(rows: Tensor) -> Tensor:
    """Return how many are true in each row (n, c): (n,) float64."""
    if rows.device.type == "cpu":
        # Several times as fast as torch's own sum.
        return torch.from_numpy(np.count_nonzero(rows.numpy(), axis=1).astype(np.float64))
    return rows.sum(1).double()
