"""Joint distribution adaptation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.alignment.base import register_alignment
from tl_research.alignment.mmd_matrix import conditional_factor, marginal_factor
from tl_research.alignment.mmd_projection import MMDProjection, RoundsConfig
from tl_research.alignment.projection import Domains
from tl_research.config import check, check_choice


@dataclass
class JDAConfig(RoundsConfig):
    """Options of `jda`: those of projections by rounds, and the weight of the domains beside the classes."""

    marginal_weight: float | str = 1.0  # w of the domains' term; classes: their number, as in the authors' code

    def __post_init__(self):
        super().__post_init__()
        if isinstance(self.marginal_weight, str):
            check_choice("marginal_weight", self.marginal_weight, ("classes",))
        else:
            check(self.marginal_weight > 0, "marginal_weight", self.marginal_weight, "a number above 0, or classes")


@register_alignment(
    "jda",
    config=JDAConfig,
    paper="Long et al. 2013, ICCV, eq. 9 and algorithm 1",
    targets=("class",),
    problem=("method.components=3",),
    gain=0.02,
    over=("joint_pca", "method.components=3"),
)
class JDA(MMDProjection):
    """Components in which the means of the domains agree, and those of each class, by pseudo-labels of the target.

    min_A tr(Aᵀ Ψᵀ (w M_0 + Σ_{c=1..C} M_c) Ψ A) + λ||A||²_F  subject to  Aᵀ Ψᵀ H Ψ A = I; M_0 of the domains, M_c of
    class c.

    Reference:
        Long, Wang, Ding, Sun & Yu 2013, ICCV, eq. 9 and algorithm 1. The figures of their table 2 come from
        `marginal_weight=classes` and `centred=False`, with rows and embedded rows of length 1.
    """

    def factor(self, domains: Domains, pseudo: Tensor | None) -> Tensor:
        chosen = self.config.marginal_weight
        weight = domains.classes if chosen == "classes" else chosen
        marginal = weight**0.5 * marginal_factor(*domains.sides)
        if pseudo is None:
            return marginal
        label = domains.label[: domains.n]
        return torch.cat([marginal, conditional_factor(label, pseudo, *domains.sides, classes=domains.classes)], dim=1)
