"""Equal predictions for two views of a row."""

from __future__ import annotations

import torch
from torch import Tensor


def squared_gap(probability: Tensor, wanted: Tensor, taken: Tensor | None = None) -> Tensor:
    """Mean squared gap of class probabilities: Σ_i m_i Σ_c (p_ic - q_ic)² / (n C).

    Args:
        probability: p (n, C) float, n >= 1.
        wanted: q (n, C) float; its gradient is the caller's business.
        taken: m (n,) bool; None: every row.

    Returns:
        Scalar from 0 to 2 / C.

    Raises:
        ValueError: shapes that do not fit.

    Reference:
        Tarvainen & Valpola 2017, NeurIPS, section 2; French et al. 2018, ICLR, section 3.
    """
    if probability.ndim != 2 or probability.shape != wanted.shape or not len(probability):
        raise ValueError(f"squared_gap: got {tuple(probability.shape)} and {tuple(wanted.shape)}, wants (n, C) twice")
    wide = torch.promote_types(probability.dtype, torch.float32)
    gap = (probability.to(wide) - wanted.to(wide)).square().mean(dim=1)
    return (gap if taken is None else gap * taken).mean()
