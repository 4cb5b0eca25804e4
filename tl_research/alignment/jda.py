"""Joint distribution adaptation."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.alignment.mmd_matrix import conditional_factor, marginal_factor
from tl_research.alignment.mmd_projection import MMDProjection
from tl_research.alignment.projection import Domains


class JDA(MMDProjection):
    """Components in which the means of the domains agree, and those of each class, by pseudo-labels of the target.

    min_A tr(Aᵀ Ψᵀ (Σ_{c=0..C} M_c) Ψ A) + λ||A||²_F  subject to  Aᵀ Ψᵀ H Ψ A = I; M_0 of the domains, M_c of class c.

    Args:
        iterations: T; the first round is TCA, so that 1 is TCA.
        components, regularizer, kernel, pseudo_labels, ...: as of `MMDProjection`.

    Reference:
        Long, Wang, Ding, Sun & Yu 2013, ICCV, eq. 9 and algorithm 1. M_0 has weight 1, as printed; their code gives
        it weight C.
    """

    def factor(self, domains: Domains, pseudo: Tensor | None) -> Tensor:
        marginal = marginal_factor(*domains.sides)
        if pseudo is None:
            return marginal
        label = domains.label[: domains.n]
        return torch.cat([marginal, conditional_factor(label, pseudo, *domains.sides, classes=domains.classes)], dim=1)
