"""Sinkhorn divergence of the features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.config import above, at_least
from tl_research.kernels import mean_squared_distance
from tl_research.losses.sinkhorn import sinkhorn_divergence
from tl_research.methods.discrepancy import DiscrepancyConfig, FeatureDiscrepancy
from tl_research.registry import register_method


@dataclass
class SinkhornDivergenceConfig(DiscrepancyConfig):
    """Options of `sinkhorn_divergence`: the weight of the distance, and how it is solved."""

    name: str = "sinkhorn_divergence"
    regularization: float = above(0, default=0.3)  # eps of the entropy, times the mean squared distance of the batch
    tolerance: float = above(0, default=1e-3)  # on the change of the potentials, times eps
    max_iterations: int = at_least(1, default=100)


@register_method(
    "sinkhorn_divergence",
    config=SinkhornDivergenceConfig,
    family="feature",
    settings=("unsupervised", "few_shot"),
    paper="Feydy et al. 2019, AISTATS, eq. 3 and 4; Genevay et al. 2018, AISTATS",
    null=0.0,
    null_rows=1024,
    gain=0.02,
)
class SinkhornDivergence(FeatureDiscrepancy):
    """Align the features by entropic optimal transport: CE(source) + weight * S_eps(f_S, f_T).

    S_eps = OT_eps(f_S, f_T) - OT_eps(f_S, f_S)/2 - OT_eps(f_T, f_T)/2 of the squared distance. eps is
    `regularization` times the mean squared distance of the batch's rows, so that no unit of the features decides. 0.3
    of it rather than 0.1 keeps the divergence of two samples of one distribution near 0 also where features are many.

    Three plans are iterated per batch: a step takes four times that of `source_only` (docs/step_cost.md).
    """

    config: SinkhornDivergenceConfig

    def discrepancy(self, source: Tensor, target: Tensor) -> Tensor:
        unit = mean_squared_distance(torch.cat([source, target]).detach())
        return sinkhorn_divergence(
            source,
            target,
            regularization=(self.config.regularization * unit).clamp_min(torch.finfo(unit.dtype).tiny),
            tolerance=self.config.tolerance,
            max_iterations=self.config.max_iterations,
        )
