"""Moving the source's columns to the target's means, and to its standard deviations if asked."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.alignment.base import Alignment, Rows
from tl_research.alignment.linear import moments


class MeanAlignment(Alignment):
    """Mean alignment: move the source so that its mean is the target's.

    Source: x -> (x - μ_s) σ_t / σ_s + μ_t column by column, the quotient being 1 unless `scale`; target rows stay.

    Args:
        scale: match each column's standard deviation too, which is what standardising each domain by itself does.
            A column that is constant in either domain keeps its scale.

    Reference:
        The diagonal case of linear optimal transport between Gaussians, as `linear_monge` is the full one.
    """

    def __init__(self, *, scale: bool = False):
        super().__init__()
        self.scale = scale

    def fit(self, source: Rows, target: Rows, *, labeled: Rows | None = None, classes: int, seed: int) -> None:
        from_, to = moments(source, "the source"), moments(target, "the target")
        factor = torch.ones_like(from_.mean)
        if self.scale:
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
