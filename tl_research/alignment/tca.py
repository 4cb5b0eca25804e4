"""Transfer component analysis."""

from __future__ import annotations

from torch import Tensor

from tl_research.alignment.mmd_matrix import marginal_factor
from tl_research.alignment.mmd_projection import MMDProjection
from tl_research.alignment.projection import Domains


class TCA(MMDProjection):
    """Components in which the means of the two domains agree and the variance is kept.

    min_W tr(Wᵀ K L K W) + λ tr(Wᵀ W)  subject to  Wᵀ K H K W = I,  with L = e eᵀ of the domain means.

    Args:
        components, regularizer, kernel, ...: as of `MMDProjection`.

    Reference:
        Pan, Tsang, Kwok & Yang 2011, IEEE TNN 22(2), eq. 8 (their μ is on the MMD, here λ is on ||W||²).
    """

    def __init__(self, **options):
        super().__init__(**options, iterations=1)

    def factor(self, domains: Domains, pseudo: Tensor | None) -> Tensor:
        return marginal_factor(*domains.sides)
