"""A draw of rows, where there are more than need be read."""

from __future__ import annotations

import numpy as np
import torch

from tl_research.alignment.base import Rows


def drawn(rows: Rows, most: int, seed: int) -> Rows:
    """Return at most so many rows, drawn at random by the seed, in their order."""
    if len(rows.x) <= most:
        return rows
    place = torch.from_numpy(np.sort(np.random.default_rng(seed).permutation(len(rows.x))[:most])).to(rows.x.device)
    return Rows(*(None if part is None else part[place] for part in rows))
