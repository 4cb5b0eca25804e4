"""Representation subspace distance: equal subspaces of the features, for numbers above all."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.config import MethodConfig, at_least
from tl_research.losses.subspaces import subspace_distance
from tl_research.methods.base import AdaptationModule, Step
from tl_research.registry import register_method


@dataclass
class RSDConfig(MethodConfig):
    """Options of `rsd`: the weight of the distance."""

    name: str = "rsd"
    weight: float = at_least(0, default=0.001)


@register_method(
    "rsd",
    config=RSDConfig,
    family="feature",
    settings=("unsupervised", "few_shot"),
    paper="Chen et al. 2021, ICML, equations 3 to 5",
    no_null="two batches of one distribution span subspaces that differ where rows are few",
    no_gain="0.1 points over source_only on the market of the tests, three seeds, at the paper's weight",
    problem=("encoder.hidden=[128]", "data.batch_size=32"),
)
class RSD(AdaptationModule):
    """Align the subspaces of the features, not their scale: task loss + weight * Σ_i sin θ_i.

    Scaling features changes a regression; aligning their scale, as moments do, spoils it. θ are the principal angles
    between the subspaces of the two batches (`losses.subspaces`). A batch is to have fewer rows than features: more
    span every direction on both sides, and the distance is 0. The paper adds a mismatch of the bases (BMP), left out
    here: its gradient grows without bound where singular values are alike, and those of features that are 0 are.
    """

    def terms(self, step: Step) -> dict[str, Tensor]:
        return {"rsd": self.config.weight * subspace_distance(step.source.features, step.target.features)}
