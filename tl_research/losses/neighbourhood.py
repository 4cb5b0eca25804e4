"""Labels of the nearest rows in a memory of features and class scores."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def neighbourhood_scores(query: Tensor, own: Tensor, keys: Tensor, scores: Tensor, *, neighbours: int = 5) -> Tensor:
    """Mean class scores of each row's nearest keys by the cosine, its own key left out.

    q_i = (1 / m) Σ_{j in N_i} s_j, N_i the m keys j != own_i of largest cosine with query i. No gradient.

    Args:
        query: (n, d) float.
        own: (n,) int64, the place of each row's own key; -1 where it has none.
        keys: (k, d) float, of length 1 or all zeros where nothing is known.
        scores: s (k, C) float.
        neighbours: m >= 1; all other keys where there are fewer.

    Returns:
        q (n, C).

    Raises:
        ValueError: shapes that do not fit, fewer than two keys, or m below 1.

    Reference:
        Liang et al. 2021, CVPR, section 3 (ATDOC: neighbourhood aggregation).
    """
    if query.ndim != 2 or keys.ndim != 2 or query.shape[1] != keys.shape[1] or len(keys) != len(scores):
        shapes = tuple(query.shape), tuple(keys.shape), tuple(scores.shape)
        raise ValueError(f"neighbourhood_scores: got {shapes}, wants (n, d), (k, d) and (k, C)")
    if len(keys) < 2 or neighbours < 1:
        raise ValueError(f"neighbourhood_scores: got {len(keys)} keys, {neighbours} neighbours; wants 2 and 1 or more")
    with torch.no_grad(), torch.autocast(query.device.type, enabled=False):
        similarity = F.normalize(query.to(keys.dtype), dim=1) @ keys.T
        has_own = own >= 0
        rows = torch.arange(len(query), device=query.device)[has_own]
        similarity[rows, own[has_own]] = -torch.inf
        nearest = similarity.topk(min(neighbours, len(keys) - 1), dim=1).indices
        return scores[nearest].mean(dim=1)


def sharpened_scores(probability: Tensor) -> Tensor:
    """Class scores of a batch, sharper than the probabilities and balanced over classes: p_ic² / Σ_k p_kc².

    Args:
        probability: p (n, C) float.

    Returns:
        (n, C), columns of sum 1 (a class without probability: 0).

    Reference:
        Liang et al. 2021, CVPR, section 3 (ATDOC: temperature 1/2, divided by the size of the class).
    """
    squared = probability.square()
    return squared / squared.sum(dim=0).clamp_min(torch.finfo(probability.dtype).tiny)


def weighted_cross_entropy(logits: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """Σ_i w_i CE(z_i, ŷ_i) / Σ_i w_i, in float32 or wider.

    Args:
        logits: z (n, C) float.
        label: (n,) int64.
        weight: (n,) float, 0 or more.

    Returns:
        Scalar, in nats; 0 where all weights are 0.

    Raises:
        ValueError: shapes that do not fit.
    """
    if logits.ndim != 2 or not len(logits) == len(label) == len(weight):
        shapes = tuple(logits.shape), tuple(label.shape), tuple(weight.shape)
        raise ValueError(f"weighted_cross_entropy: got {shapes}, wants (n, C), (n,) and (n,)")
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    loss = F.cross_entropy(wide, label, reduction="none")
    weight = weight.to(wide.dtype)
    return (weight * loss).sum() / weight.sum().clamp_min(torch.finfo(wide.dtype).tiny)
