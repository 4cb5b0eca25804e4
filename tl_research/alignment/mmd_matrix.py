"""The MMD matrix between domains and between their classes, as its low-rank factor: L = E Eᵀ, never n x n."""

from __future__ import annotations

import torch
from torch import Tensor


def marginal_factor(source_weight: Tensor, target_weight: Tensor) -> Tensor:
    """Column e with eᵀF = mean of F over the source rows - mean over the target rows.

    Args:
        source_weight: (n,) float, relative weights >= 0.
        target_weight: (m,) float.

    Returns:
        (n + m, 1): w_i / Σw on source rows, -w_j / Σw on target rows; e eᵀ is L of TCA and M_0 of JDA.

    Reference:
        Pan et al. 2011, IEEE TNN 22(2), eq. 4; Long et al. 2013, ICCV, eq. 4.
    """
    return torch.cat([source_weight / source_weight.sum(), -target_weight / target_weight.sum()])[:, None]


def conditional_factor(
    source_label: Tensor,
    target_label: Tensor,
    source_weight: Tensor,
    target_weight: Tensor,
    *,
    classes: int,
    weighted: bool = False,
) -> Tensor:
    """One column per class: the mean of the class over source rows - its mean over target rows.

    A class that one of the domains lacks has no difference of means; its column is 0.

    Args:
        source_label, target_label: (n,) and (m,) class index, of the target mostly pseudo-labels.
        source_weight, target_weight: (n,) and (m,) float, relative weights >= 0.
        classes: number of classes C.
        weighted: scale the source part of column c by sqrt(P_s(c)) and the target part by sqrt(P_t(c)), the shares
            of the class, as W-BDA does for unequal class balance; columns then no longer sum to 0.

    Returns:
        (n + m, C); Σ_c M_c = E Eᵀ.

    Reference:
        Long et al. 2013, ICCV, eq. 7; Wang et al. 2017, ICDM, eq. 10 (weighted).
    """
    columns = []
    for label, weight in ((source_label, source_weight), (target_label, target_weight)):
        member = torch.nn.functional.one_hot(label, classes).to(weight.dtype) * weight[:, None]
        total = member.sum(dim=0)
        share = (total / total.sum()).sqrt() if weighted else torch.ones_like(total)
        columns.append((member / total.clamp_min(torch.finfo(total.dtype).tiny) * share, total > 0))
    (source, in_source), (target, in_target) = columns
    return torch.cat([source, -target]) * (in_source & in_target)


def unit_norm(factor: Tensor) -> Tensor:
    """Scale E so that ||E Eᵀ||_F = 1, as the authors' code of JDA, BDA, MEDA and TJM does with its MMD matrix."""
    size = (factor.T @ factor).norm().sqrt()
    return factor / size.clamp_min(torch.finfo(size.dtype).tiny)
