"""Balanced distribution adaptation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.alignment.base import register_alignment
from tl_research.alignment.mmd_matrix import conditional_factor, marginal_factor
from tl_research.alignment.mmd_projection import MMDProjection, RoundsConfig
from tl_research.alignment.projection import Domains
from tl_research.config import check


@dataclass
class BDAConfig(RoundsConfig):
    """Options of `bda`: those of projections by rounds, and how the domains and the classes are balanced."""

    balance: float = 0.5  # μ; 0 is TCA
    weighted: bool = False  # W-BDA: class c weighs P_s(c) on source rows and P_t(c), by pseudo-labels, on target rows

    def __post_init__(self):
        super().__post_init__()
        check(0 <= self.balance <= 1, "balance", self.balance, "0 <= balance <= 1")


@register_alignment(
    "bda",
    config=BDAConfig,
    paper="Wang et al. 2017, ICDM, eq. 7 and 12",
    targets=("class",),
    problem=("method.components=3",),
    gain=0.02,
    over=("joint_pca", "method.components=3"),
)
class BDA(MMDProjection):
    """JDA with a balance between the difference of the domains and that of the classes.

    L = (1 - μ) M_0 + μ Σ_{c=1..C} M_c.  The first round, before there are pseudo-labels, has M_0 alone.

    Reference:
        Wang, Chen, Hao, Feng & Shen 2017, ICDM, eq. 5-7 and 10-12 (W-BDA).
    """

    def factor(self, domains: Domains, pseudo: Tensor | None) -> Tensor:
        marginal = marginal_factor(*domains.sides)
        if pseudo is None:
            return marginal
        label = domains.label[: domains.n]
        balance, options = self.config.balance, {"classes": domains.classes, "weighted": self.config.weighted}
        conditional = conditional_factor(label, pseudo, *domains.sides, **options)
        return torch.cat([(1 - balance) ** 0.5 * marginal, balance**0.5 * conditional], dim=1)
