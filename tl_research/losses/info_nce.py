"""Contrastive cross-entropy without labels: two views of a row against all other rows' views."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tl_research.nn.rounding import unit_rows


def info_nce(first: Tensor, second: Tensor, *, temperature: float = 0.5) -> Tensor:
    """Normalised temperature-scaled cross-entropy of 2n views, a view's partner against all 2n - 1 others.

        L = -(1 / 2n) Σ_i ln( exp(z_i·z_j(i) / T) / Σ_{k≠i} exp(z_i·z_k / T) ),   z scaled to length 1

    ln(2n - 1) where all views are alike. Above 0, and ln(2n - 1) - L bounds the information that the views share from
    below, in nats. In float32 or wider.

    Args:
        first: (n, d) float, one view of each row, n >= 2.
        second: (n, d) float, the other view, in the same order.
        temperature: T > 0.

    Returns:
        Scalar, in nats.

    Raises:
        ValueError: shapes that do not fit, fewer than two rows, or a temperature of 0 or less.

    Reference:
        Chen et al. 2020, ICML, equation 1 (SimCLR); van den Oord et al. 2018, arXiv:1807.03748, section 2.3 (bound).
    """
    if first.ndim != 2 or first.shape != second.shape or len(first) < 2:
        raise ValueError(f"info_nce: got {tuple(first.shape)} and {tuple(second.shape)}, wants (n, d) twice, n >= 2")
    if temperature <= 0:
        raise ValueError(f"info_nce: got temperature {temperature}, wants above 0")
    with torch.autocast(first.device.type, enabled=False):
        views = torch.cat([first, second])
        unit = unit_rows(views.to(torch.promote_types(views.dtype, torch.float32)))
        similarity = unit @ unit.T / temperature
        own = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
        partner = torch.arange(len(unit), device=unit.device).roll(len(first))
        return F.cross_entropy(similarity.masked_fill(own, -torch.inf), partner)
