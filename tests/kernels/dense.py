"""Dense float64 maximum mean discrepancy: what every other backend is compared with."""

from __future__ import annotations

import torch
from torch import Tensor


def mmd2_reference(
    x: Tensor, y: Tensor, bandwidths: Tensor, estimator: str, x_weight: Tensor | None, y_weight: Tensor | None
) -> Tensor:
    """Backend `reference` of `mmd2`, whose arguments have been checked; O((n + m)²) float64 memory."""
    bandwidths = bandwidths.double()
    # distances do not change, but their quadratic expansion loses no digits to a common offset
    centre = torch.cat([x.detach(), y.detach()]).double().mean(dim=0)
    x, y = x.double() - centre, y.double() - centre
    p, q = _shares(x, x_weight), _shares(y, y_weight)
    cross = p @ _gaussian(x, y, bandwidths) @ q
    return _within(x, p, bandwidths, estimator) + _within(y, q, bandwidths, estimator) - 2 * cross


def _shares(rows: Tensor, weight: Tensor | None) -> Tensor:
    if weight is None:
        return rows.new_full((rows.shape[0],), 1 / rows.shape[0])
    return weight.double() / weight.double().sum()


def _within(rows: Tensor, share: Tensor, bandwidths: Tensor, estimator: str) -> Tensor:
    kernel = _gaussian(rows, rows, bandwidths)
    if estimator == "biased":
        return share @ kernel @ share
    off_diagonal = kernel - torch.diag(kernel.diagonal())
    return share @ off_diagonal @ share / (1 - share.square().sum())


def _gaussian(a: Tensor, b: Tensor, bandwidths: Tensor) -> Tensor:
    squared = (a.square().sum(dim=1)[:, None] + b.square().sum(dim=1) - 2 * a @ b.T).clamp_min(0)
    return sum(torch.exp(-squared / (2 * sigma**2)) for sigma in bandwidths)
