"""Distances between two classifiers on the same rows, which their games make large and the features make small."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def classifier_discrepancy(one: Tensor, other: Tensor) -> Tensor:
    """Mean absolute difference of two classifiers' probabilities: Σ_i Σ_c |p_ic - q_ic| / (n C).

    0 for equal classifiers, 2 / C for two that are certain of different classes. In float32 or wider.

    Args:
        one: logits (n, C) float, n >= 1.
        other: same shape.

    Returns:
        Scalar from 0 to 2 / C.

    Raises:
        ValueError: shapes that do not fit.

    Reference:
        Saito et al. 2018, CVPR, eq. 2.
    """
    one, other = _same("classifier_discrepancy", one, other)
    return (one.softmax(dim=1) - other.softmax(dim=1)).abs().mean()


def margin_disparity(
    source_logits: Tensor,
    source_label: Tensor,
    target_logits: Tensor,
    target_label: Tensor,
    *,
    margin: float = 4.0,
) -> Tensor:
    """What an auxiliary classifier f' minimises: γ mean_S -ln σ_ŷ(f'(x)) + mean_T -ln(1 - σ_ŷ(f'(x))).

    σ_ŷ is the softmax probability of the class that the main classifier predicts. f' is to agree with it on source
    rows and to disagree on target rows; the sum less its sign is the margin disparity discrepancy. On equal domains
    the best f' has σ_ŷ = γ / (1 + γ). In float32 or wider, without 1 - σ, which rounds to 0.

    Args:
        source_logits: of f', (n, C) float, n >= 1, C >= 2.
        source_label: ŷ (n,) int64, predicted by the main classifier.
        target_logits: of f', (m, C) float, m >= 1.
        target_label: ŷ (m,) int64.
        margin: γ > 0; ln γ is the margin.

    Returns:
        Scalar, in nats.

    Raises:
        ValueError: a margin of 0 or less, fewer than two classes, or a side without rows.

    Reference:
        Zhang et al. 2019, ICML, section 5 (margin disparity discrepancy by cross-entropies).
    """
    if not margin > 0:
        raise ValueError(f"margin_disparity: got margin {margin}, wants above 0")
    if source_logits.shape[1] < 2 or not len(source_logits) or not len(target_logits):
        shapes = tuple(source_logits.shape), tuple(target_logits.shape)
        raise ValueError(f"margin_disparity: got {shapes}, wants rows of two or more classes")
    source, target = _wide(source_logits), _wide(target_logits)
    agree = F.cross_entropy(source, source_label)
    predicted = F.one_hot(target_label, target.shape[1]).bool()
    others = target.masked_fill(predicted, -torch.inf).logsumexp(dim=1)
    return margin * agree + (target.logsumexp(dim=1) - others).mean()


def _wide(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _same(name: str, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    if one.ndim != 2 or one.shape != other.shape or not len(one):
        raise ValueError(f"{name}: got {tuple(one.shape)} and {tuple(other.shape)}, wants (n, C) twice")
    return _wide(one), _wide(other)
