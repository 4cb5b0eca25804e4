"""Losses of two heads of K classes each that are read as one classifier of 2K: the first K are the source's.

p_k and p_{k+K} are the softmax over both heads' logits together. Everything is a difference of log-sum-exps.
"""

from __future__ import annotations

import torch
from torch import Tensor


def domain_of_heads(source: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor]) -> Tensor:
    """Which head a row belongs to: -mean_S ln Σ_k p_k - mean_T ln Σ_k p_{k+K}.

    Args:
        source: logits of both heads on source rows, (n, K) float each.
        target: the same on target rows, (m, K) each.

    Returns:
        Scalar, in nats; 2 ln 2 for heads that know nothing.

    Reference:
        Zhang et al. 2019, CVPR (domain discrimination of the joint classifier).
    """
    of_source, of_target = log_shares(*source)[0], log_shares(*target)[1]
    return -of_source.mean() - of_target.mean()


def domain_confusion(one: Tensor, other: Tensor) -> Tensor:
    """Rows that belong to both heads alike: -½ mean ln Σ_k p_k - ½ mean ln Σ_k p_{k+K}.

    Args:
        one: logits (n, K) float of the source's head.
        other: logits (n, K) of the target's head.

    Returns:
        Scalar of ln 2 or more, in nats.

    Reference:
        Zhang et al. 2019, CVPR (domain-level confusion).
    """
    return -torch.stack(log_shares(one, other)).mean()


def category_confusion(one: Tensor, other: Tensor, label: Tensor) -> Tensor:
    """Rows that are of their class in both heads alike: -½ mean ln p_y - ½ mean ln p_{y+K}.

    Args:
        one: logits (n, K) float of the source's head.
        other: logits (n, K) of the target's head.
        label: y (n,) int64.

    Returns:
        Scalar of ln 2 or more, in nats.

    Reference:
        Zhang et al. 2019, CVPR (category-level confusion).
    """
    both = torch.cat([one, other], dim=1).log_softmax(dim=1)
    places = torch.stack([label, label + one.shape[1]], dim=1)
    return -both.gather(1, places).mean()


def joint_logits(one: Tensor, other: Tensor) -> Tensor:
    """Logits (n, K) of the classes whatever the head: their softmax is p_k + p_{k+K}.

    Args:
        one: logits (n, K) float of the source's head.
        other: logits (n, K) of the target's head.
    """
    return torch.logaddexp(one, other)


def log_shares(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """ln of each head's share of the probability, (n,) each: ln Σ_k p_k and ln Σ_k p_{k+K}.

    Args:
        one: logits (n, K) float of the source's head.
        other: logits (n, K) of the target's head.

    Raises:
        ValueError: shapes that differ, or no rows.
    """
    if one.ndim != 2 or one.shape != other.shape or not len(one):
        raise ValueError(f"log_shares: got {tuple(one.shape)} and {tuple(other.shape)}, wants (n, K) twice")
    whole = torch.cat([one, other], dim=1).logsumexp(dim=1)
    return one.logsumexp(dim=1) - whole, other.logsumexp(dim=1) - whole
