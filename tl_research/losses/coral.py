"""Correlation alignment."""

from __future__ import annotations

import torch
from torch import Tensor


def coral(source: Tensor, target: Tensor) -> Tensor:
    """Squared distance of the two feature covariances: ||C_S - C_T||²_F / (4 d²).

    C is the unbiased covariance, divided by n - 1. Computed in float32 or wider whatever autocast says.

    Args:
        source: (n, d) float, n >= 2.
        target: (m, d) float, m >= 2.

    Returns:
        Scalar with a gradient to both sides.

    Raises:
        ValueError: shapes that do not fit, or one row on a side.

    Reference:
        Sun & Saenko 2016, ECCV workshops, eq. 1 to 3.
    """
    if source.ndim != 2 or target.ndim != 2 or source.shape[1] != target.shape[1]:
        raise ValueError(f"coral: got {tuple(source.shape)} and {tuple(target.shape)}, wants (n, d) and (m, d)")
    for side, rows in (("source", source), ("target", target)):
        if rows.shape[0] < 2:
            raise ValueError(f"coral: {side} has {rows.shape[0]} row(s); a covariance needs at least 2")
    with torch.autocast(source.device.type, enabled=False):
        difference = _covariance(source) - _covariance(target)
        return difference.square().sum() / (4 * source.shape[1] ** 2)


def _covariance(rows: Tensor) -> Tensor:
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
    centred = rows - rows.mean(dim=0)
    return centred.T @ centred / (rows.shape[0] - 1)
