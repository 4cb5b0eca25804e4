"""Distances of normal distributions with independent numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def normal_kl(mean: Tensor, log_std: Tensor, other_mean: Tensor, other_log_std: Tensor) -> Tensor:
    """Return KL(N(μ, diag σ²) || N(ν, diag τ²)) (n,) = Σ_k ln(τ/σ) + (σ² + (μ - ν)²) / (2 τ²) - 1/2.

    Args:
        mean, log_std: μ and ln σ, (n, d).
        other_mean, other_log_std: ν and ln τ, (n, d), or what broadcasts to it.
    """
    ratio = log_std - other_log_std
    shift = (mean - other_mean) * torch.exp(-other_log_std)
    return (0.5 * (torch.exp(2 * ratio) + shift.square() - 1) - ratio).sum(-1)
