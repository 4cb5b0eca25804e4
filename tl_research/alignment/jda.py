"""Joint distribution adaptation."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.alignment.mmd_matrix import conditional_factor, marginal_factor
from tl_research.alignment.mmd_projection import MMDProjection
from tl_research.alignment.projection import Domains
from tl_research.config import check, check_choice


class JDA(MMDProjection):
    """Components in which the means of the domains agree, and those of each class, by pseudo-labels of the target.

    min_A tr(Aᵀ Ψᵀ (w M_0 + Σ_{c=1..C} M_c) Ψ A) + λ||A||²_F  subject to  Aᵀ Ψᵀ H Ψ A = I; M_0 of the domains, M_c of
    class c.

    Args:
        marginal_weight: w > 0; 1 as printed, or `classes` for C, as in the authors' code.
        iterations: T; the first round is TCA, so that 1 is TCA.
        components, regularizer, kernel, pseudo_labels, ...: as of `MMDProjection`.

    Reference:
        Long, Wang, Ding, Sun & Yu 2013, ICCV, eq. 9 and algorithm 1. The figures of their table 2 come from
        `marginal_weight=classes` and `centred=False`, with rows and embedded rows of length 1.
    """

    def __init__(self, *, marginal_weight: float | str = 1.0, **options):
        super().__init__(**options)
        if isinstance(marginal_weight, str):
            check_choice("method.marginal_weight", marginal_weight, ("classes",))
        else:
            check(marginal_weight > 0, "method.marginal_weight", marginal_weight, "a number above 0, or classes")
        self.marginal_weight = marginal_weight

    def factor(self, domains: Domains, pseudo: Tensor | None) -> Tensor:
        weight = domains.classes if self.marginal_weight == "classes" else self.marginal_weight
        marginal = weight**0.5 * marginal_factor(*domains.sides)
        if pseudo is None:
            return marginal
        label = domains.label[: domains.n]
        return torch.cat([marginal, conditional_factor(label, pseudo, *domains.sides, classes=domains.classes)], dim=1)
