"""Transfer component analysis."""

from __future__ import annotations

from torch import Tensor

from tl_research.alignment.base import register_alignment
from tl_research.alignment.mmd_matrix import marginal_factor
from tl_research.alignment.mmd_projection import MMDProjection
from tl_research.alignment.projection import Domains, ProjectionConfig


@register_alignment(
    "tca",
    config=ProjectionConfig,
    paper="Pan et al. 2011, IEEE TNN 22(2), eq. 8",
    problem=("method.components=3",),
    gain=0.02,
    over=("joint_pca", "method.components=3"),
)
class TCA(MMDProjection):
    """Components in which the means of the two domains agree and the variance is kept.

    min_W tr(Wᵀ K L K W) + λ tr(Wᵀ W)  subject to  Wᵀ K H K W = I,  with L = e eᵀ of the domain means.

    Reference:
        Pan, Tsang, Kwok & Yang 2011, IEEE TNN 22(2), eq. 8 (their μ is on the MMD, here λ is on ||W||²).
    """

    iterations = 1

    def factor(self, domains: Domains, pseudo: Tensor | None) -> Tensor:
        return marginal_factor(*domains.sides)
