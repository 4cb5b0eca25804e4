"""Which shift weighs more: that of the whole domains or that of their classes, by how well each is told apart."""

from __future__ import annotations

import torch
from torch import Tensor


def domain_error(source_logit: Tensor, target_logit: Tensor, source_weight: Tensor, target_weight: Tensor) -> Tensor:
    """Balanced error of a domain discriminator, source = 0 and target = 1: ½ Σ_i w_i e_i / Σ_i w_i, summed over sides.

    e is 1 for a row on the wrong side, ½ for a logit of 0.

    Args:
        source_logit: (n, ...) float.
        target_logit: (m, ...) float.
        source_weight: w (n, ...) float, 0 or more: how much a row belongs to what is told apart.
        target_weight: (m, ...) float.

    Returns:
        (...) from 0 to 1; ½ where a side has no weight.
    """
    parts = []
    for logit, weight in ((source_logit, source_weight), (-target_logit, target_weight)):
        wrong, total = (1 + logit.sign()) / 2, weight.sum(dim=0)
        tiny = torch.finfo(weight.dtype).tiny
        parts.append(torch.where(total > 0, (weight * wrong).sum(dim=0) / total.clamp_min(tiny), 0.5))
    return (parts[0] + parts[1]) / 2


def a_distance(error: Tensor) -> Tensor:
    """Proxy A-distance 2 (1 - 2 ε) of a discriminator's error ε, 0 where it does no better than chance.

    Reference:
        Ben-David et al. 2007, NeurIPS, section 4.
    """
    return (2 * (1 - 2 * error)).clamp_min(0)


def dynamic_factor(whole_error: Tensor, class_errors: Tensor) -> Tensor:
    """Weight ω of the classes' shift: d_c / (d_g + d_c), d_g the A-distance of the domains, d_c the classes' mean.

    0 where only the domains as a whole are told apart, 1 where only their classes are, ½ where nothing is.

    Args:
        whole_error: scalar, error of the discriminator of the domains.
        class_errors: (C,), error of each class's discriminator.

    Returns:
        Scalar from 0 to 1.

    Reference:
        Yu et al. 2019, ICDM (dynamic adversarial factor). The distances are of measured errors: public code puts the
        value of a weighted cross-entropy in the place of ε.
    """
    of_whole, of_classes = a_distance(whole_error), a_distance(class_errors).mean()
    total = of_whole + of_classes
    return torch.where(total > 0, of_classes / total.clamp_min(torch.finfo(total.dtype).tiny), 0.5)
