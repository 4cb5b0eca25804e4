"""Moving the source's columns to the target's means, and to its standard deviations if asked."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.alignment.base import Alignment, Rows, register_alignment
from tl_research.alignment.linear import moments


@dataclass
class MeanAlignmentConfig:
    """Options of `mean_alignment`: whether each column's deviation is matched beside its mean."""

    #: Match each column's standard deviation too, as standardising each domain by itself does. A column that is
    #: constant in either domain keeps its scale.
    scale: bool = False


@register_alignment(
    "mean_alignment",
    config=MeanAlignmentConfig,
    paper="first moments of linear optimal transport; Flamary et al. 2019, arXiv:1905.10155",
    gain=0.06,
)
class MeanAlignment(Alignment):
    """Mean alignment: move the source so that its mean is the target's.

    Source: x -> (x - μ_s) σ_t / σ_s + μ_t column by column, the quotient being 1 unless `scale`; target rows stay.

    Reference:
        The diagonal case of linear optimal transport between Gaussians, as `linear_monge` is the full one.
    """

    def fit(self, source: Rows, target: Rows, *, labeled: Rows | None = None, classes: int, seed: int) -> None:
        from_, to = moments(source, "the source"), moments(target, "the target")
        factor = torch.ones_like(from_.mean)
        if self.config.scale:
            deviations = [side.root.square().sum(dim=0).sqrt() for side in (from_, to)]
            varies = (deviations[0] > 0) & (deviations[1] > 0)
            factor = torch.where(varies, deviations[1] / deviations[0], factor)
        self.keep(source_mean=from_.mean, target_mean=to.mean, factor=factor)

    def source(self, x: Tensor) -> Tensor:
        work = torch.promote_types(x.dtype, torch.float32)
        moved = (x.to(work) - self.source_mean.to(work)) * self.factor.to(work) + self.target_mean.to(work)
        return moved.to(x.dtype)

    def target(self, x: Tensor) -> Tensor:
        return x

    def facts(self) -> dict[str, float | int | str]:
        if not self.is_fitted:
            return {}
        return {"mean_distance": float((self.source_mean - self.target_mean).norm())}
