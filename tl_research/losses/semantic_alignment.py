"""Rows of one class close, rows of other classes apart, across domains."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.losses.sides import checked_sides


def semantic_alignment(
    source: Tensor, source_label: Tensor, target: Tensor, target_label: Tensor, *, margin: float = 1.0
) -> Tensor:
    """Mean over all pairs of a source and a target row: ½ d² of one class, ½ max(0, margin - d)² of two.

    d is the Euclidean distance of the pair's features. In float32 or wider.

    Args:
        source: (n, d) float, n >= 1.
        source_label: (n,) class numbers.
        target: (m, d) float, m >= 1.
        target_label: (m,) class numbers.
        margin: > 0, in units of the features.

    Returns:
        Scalar with a gradient to both sides; 0 for a pair of two classes and equal features, where d has none.

    Raises:
        ValueError: shapes that do not fit, a side without rows, or a margin of 0 or less.

    Reference:
        Motiian et al. 2017, ICCV, "Unified deep supervised domain adaptation and generalization", section 3.
    """
    source, target = checked_sides("semantic_alignment", source, target)
    if margin <= 0:
        raise ValueError(f"semantic_alignment: got margin {margin}, wants above 0")
    squared = (source[:, None] - target[None]).square().sum(dim=2)
    # The square root has no gradient at 0.
    distance = squared.clamp_min(torch.finfo(squared.dtype).tiny).sqrt()
    is_alike = source_label[:, None] == target_label[None]
    return torch.where(is_alike, squared, (margin - distance).clamp_min(0).square()).mean() / 2
