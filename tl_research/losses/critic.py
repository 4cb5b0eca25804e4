"""Parts of a Wasserstein critic's game: the gap of its means, and the penalty that keeps its slope at 1."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tl_research.losses.sides import checked_sides


def critic_gap(source_score: Tensor, target_score: Tensor) -> Tensor:
    """How far a critic tells the domains apart: mean_i s_i - mean_j t_j.

    Over all critics of slope 1 or less its largest value is the Wasserstein-1 distance of the domains.

    Args:
        source_score: s (n,) or (n, 1) float, n >= 1.
        target_score: t (m,) or (m, 1) float, m >= 1.

    Returns:
        Scalar.

    Raises:
        ValueError: a side without rows.

    Reference:
        Shen et al. 2018, AAAI, section 3 (empirical Wasserstein distance).
    """
    if source_score.numel() == 0 or target_score.numel() == 0:
        raise ValueError(f"critic_gap: got {source_score.numel()} source and {target_score.numel()} target scores")
    return source_score.mean() - target_score.mean()


def penalised_points(source: Tensor, target: Tensor, share: Tensor) -> Tensor:
    """Where the slope is held at 1: the rows of both domains, and a point between each pair of rows.

    Args:
        source: x (n, d) float.
        target: y (m, d) float.
        share: u (k,) float from 0 to 1, k <= min(n, m): the points are u_i x_i + (1 - u_i) y_i.

    Returns:
        (n + m + k, d).

    Raises:
        ValueError: shapes that do not fit.

    Reference:
        Shen et al. 2018, AAAI, section 3 (gradient penalty).
    """
    source, target = checked_sides("penalised_points", source, target)
    if share.ndim != 1 or len(share) > min(len(source), len(target)):
        raise ValueError(f"penalised_points: got {tuple(share.shape)} shares, wants one per pair of rows at most")
    pairs, share = len(share), share.to(source.dtype)[:, None]
    return torch.cat([source, target, share * source[:pairs] + (1 - share) * target[:pairs]])


def gradient_penalty(critic: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """Mean squared distance of a critic's slope from 1: mean_i (‖∇ critic(x_i)‖₂ - 1)².

    Args:
        critic: rows (n, d) -> scores (n, 1) or (n,), each of its own row alone.
        points: x (n, d) float, n >= 1; taken as constant.

    Returns:
        Scalar with a gradient to the critic's parameters.

    Reference:
        Gulrajani et al. 2017, NeurIPS, eq. 3; Shen et al. 2018, AAAI, section 3.
    """
    with torch.enable_grad():
        points = points.detach().requires_grad_()
        (slope,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
        # The square root has no gradient at 0, where the critic is flat.
        length = slope.square().sum(dim=1).clamp_min(torch.finfo(slope.dtype).tiny).sqrt()
        return (length - 1).square().mean()
