"""Labels that a model gives to rows without one: which to take, how to train on them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def confident(probability: Tensor, threshold: float | Tensor) -> tuple[Tensor, Tensor]:
    """Return each row's most probable class and whether its probability reaches a threshold.

    Args:
        probability: (n, C) float.
        threshold: a number, or (n,).

    Returns:
        Labels (n,) int64, and (n,) bool: p_i,ŷ >= threshold. Neither has a gradient.

    Reference:
        Lee 2013, ICML workshop, section 2.2 (labels); Sohn et al. 2020, NeurIPS (FixMatch), eq. 4.
    """
    best, label = probability.detach().max(dim=1)
    return label, best >= threshold


def selected_cross_entropy(logits: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy of rows by given labels: Σ_i w_i CE(z_i, ŷ_i) / n, over all rows, also those of weight 0.

    Few labels that are taken thus count little. In float32 or wider.

    Args:
        logits: z (n, C) float, n >= 1.
        label: (n,) int64.
        weight: (n,) bool or float.

    Returns:
        Scalar, in nats.

    Raises:
        ValueError: shapes that do not fit.

    Reference:
        Sohn et al. 2020, NeurIPS (FixMatch), eq. 4.
    """
    if logits.ndim != 2 or not len(logits) == len(label) == len(weight) > 0:
        shapes = tuple(logits.shape), tuple(label.shape), tuple(weight.shape)
        raise ValueError(f"selected_cross_entropy: got {shapes}, wants (n, C), (n,) and (n,)")
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return (weight.to(wide.dtype) * F.cross_entropy(wide, label, reduction="none")).mean()


def class_thresholds(probability: Tensor, portion: float) -> Tensor:
    """Class-balanced thresholds: the probability above which the surest `portion` of each predicted class lies.

    With n_c rows of predicted class c, the threshold is the ⌈portion n_c⌉-th largest of their probabilities. A class
    that is predicted for no row gets 1: no row is taken for it unless it is certain.

    Args:
        probability: (n, C) float.
        portion: share of each class's rows to take, above 0 and up to 1.

    Returns:
        (C,), above 0, in the dtype of `probability`; without a gradient.

    Raises:
        ValueError: a portion out of bounds.

    Reference:
        Zou et al. 2018, ECCV, section on class-balanced self-training (its exp(-k_c)).
    """
    if not 0 < portion <= 1:
        raise ValueError(f"class_thresholds: got portion {portion}, wants above 0 and up to 1")
    best, label = probability.detach().max(dim=1)
    classes = probability.shape[1]
    # Sorted by class, and within it by falling probability.
    order = best.argsort(descending=True, stable=True)
    order = order[label[order].argsort(stable=True)]
    count = torch.bincount(label, minlength=classes)
    first = count.cumsum(dim=0) - count
    # A little less than the product, which rounding may have put above a whole number.
    taken = (portion * count.double() - 1e-9).ceil().long().clamp_min(1)
    place = (first + taken - 1).clamp(max=max(0, len(best) - 1))
    found = best[order[place]] if len(best) else best.new_ones(classes)
    return torch.where(count > 0, found, 1.0)


def class_balanced(probability: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
    """Labels by probabilities relative to each class's threshold: ŷ = argmax_c p_c / t_c, taken where p_ŷ >= t_ŷ.

    Args:
        probability: (n, C) float.
        thresholds: t (C,), above 0.

    Returns:
        Labels (n,) int64, and (n,) bool: whether they are taken. Neither has a gradient.

    Reference:
        Zou et al. 2018, ECCV (class-balanced self-training).
    """
    return confident(probability / thresholds, 1.0)


def aligned(probability: Tensor, target_share: Tensor, source_share: Tensor) -> Tensor:
    """Distribution alignment: p_c proportional to p_c · s_c / t_c, each row scaled to sum 1.

    Args:
        probability: p (n, C) float, of target rows.
        target_share: t (C,), mean probability of each class on target rows.
        source_share: s (C,), the same of source rows.

    Returns:
        (n, C), rows of sum 1. A share of 0 counts as the smallest number of its type.

    Reference:
        Berthelot et al. 2022, ICLR, section 3 (AdaMatch: distribution alignment).
    """
    smallest = torch.finfo(probability.dtype).tiny
    moved = probability * (source_share.clamp_min(smallest) / target_share.clamp_min(smallest))
    return moved / moved.sum(dim=1, keepdim=True).clamp_min(smallest)


def relative_threshold(source_probability: Tensor, share: float) -> Tensor:
    """Threshold relative to the source: `share` times the mean of the source rows' largest probabilities.

    Args:
        source_probability: (n, C) float, n >= 1.
        share: τ, 0 to 1.

    Returns:
        Scalar without a gradient.

    Reference:
        Berthelot et al. 2022, ICLR, section 3 (AdaMatch: relative confidence threshold).
    """
    return share * source_probability.detach().max(dim=1).values.mean()
