"""Two Gaussians with a known ratio, and the error of weights against it."""

from __future__ import annotations

import torch
from torch import Tensor

SHIFT, SPREAD = 0.5, 0.7


def two_gaussians(n: int, m: int, d: int = 2, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Source N(0, I), target N(SHIFT e_0, SPREAD² I), and the exact ratio at the source rows."""
    generator = torch.Generator().manual_seed(seed)
    source = torch.randn(n, d, generator=generator, dtype=torch.float64)
    target = SPREAD * torch.randn(m, d, generator=generator, dtype=torch.float64)
    target[:, 0] += SHIFT
    return source, target, ratio(source)


def ratio(x: Tensor) -> Tensor:
    away = x.clone()
    away[:, 0] -= SHIFT
    exponent = 0.5 * x.square().sum(dim=1) - 0.5 * away.square().sum(dim=1) / SPREAD**2
    return exponent.exp() / SPREAD ** x.shape[1]


def error(weight: Tensor, exact: Tensor) -> float:
    """mean (w - r)² / mean (1 - r)², both scaled to mean 1: 0 is exact, 1 as bad as equal weights."""
    weight, exact = weight / weight.mean(), exact / exact.mean()
    return float((weight - exact).square().mean() / (1 - exact).square().mean())
