"""Balanced distribution adaptation."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.alignment.mmd_matrix import conditional_factor, marginal_factor
from tl_research.alignment.mmd_projection import MMDProjection
from tl_research.alignment.projection import Domains
from tl_research.config import check


class BDA(MMDProjection):
    """JDA with a balance between the difference of the domains and that of the classes.

    L = (1 - μ) M_0 + μ Σ_{c=1..C} M_c.  The first round, before there are pseudo-labels, has M_0 alone.

    Args:
        balance: μ in [0, 1]; 0 is TCA.
        weighted: W-BDA, class c weighs P_s(c) on source rows and P_t(c), by pseudo-labels, on target rows.
        components, regularizer, kernel, iterations, pseudo_labels, ...: as of `MMDProjection`.

    Reference:
        Wang, Chen, Hao, Feng & Shen 2017, ICDM, eq. 5-7 and 10-12 (W-BDA).
    """

    def __init__(self, *, balance: float = 0.5, weighted: bool = False, **options):
        super().__init__(**options)
        check(0 <= balance <= 1, "method.balance", balance, "0 <= balance <= 1")
        self.balance, self.weighted = balance, weighted

    def factor(self, domains: Domains, pseudo: Tensor | None) -> Tensor:
        marginal = marginal_factor(*domains.sides)
        if pseudo is None:
            return marginal
        label = domains.label[: domains.n]
        conditional = conditional_factor(label, pseudo, *domains.sides, classes=domains.classes, weighted=self.weighted)
        return torch.cat([(1 - self.balance) ** 0.5 * marginal, self.balance**0.5 * conditional], dim=1)
