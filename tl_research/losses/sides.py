"""What the losses of two samples share: their check, and their precision."""

from __future__ import annotations

import torch
from torch import Tensor


def checked_sides(name: str, source: Tensor, target: Tensor, *, least: int = 1) -> tuple[Tensor, Tensor]:
    """Return both sides in one dtype, float32 or wider.

    Args:
        name: of the loss, for messages.
        source: (n, d) float.
        target: (m, d) float.
        least: rows that a side must have.

    Raises:
        ValueError: shapes that do not fit, or too few rows.
    """
    if source.ndim != 2 or target.ndim != 2 or source.shape[1] != target.shape[1]:
        raise ValueError(f"{name}: got {tuple(source.shape)} and {tuple(target.shape)}, wants (n, d) and (m, d)")
    for side, rows in (("source", source), ("target", target)):
        if rows.shape[0] < least:
            raise ValueError(f"{name}: {side} has {rows.shape[0]} row(s), wants {least} or more")
    wide = torch.promote_types(torch.promote_types(source.dtype, target.dtype), torch.float32)
    return source.to(wide), target.to(wide)
