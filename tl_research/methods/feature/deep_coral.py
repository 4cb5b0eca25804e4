"""Deep CORAL: equal second moments of the features."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.config import MethodConfig, at_least
from tl_research.losses.coral import coral
from tl_research.methods.base import AdaptationModule, Step
from tl_research.registry import register_method


@dataclass
class DeepCoralConfig(MethodConfig):
    """Options of `deep_coral`: the weight of the distance between the covariances."""

    name: str = "deep_coral"
    weight: float = at_least(0, default=1.0)


@register_method(
    "deep_coral",
    config=DeepCoralConfig,
    family="feature",
    settings=("unsupervised", "few_shot"),
    paper="Sun & Saenko 2016, ECCV Workshops, eq. 1-6",
    null=0.0,
    gain=0.015,
)
class DeepCoral(AdaptationModule):
    """Align covariances of the last layer: CE(source) + weight * ||C_S - C_T||_F^2 / (4 d^2) of the d logits.

    The paper wants both terms about equal at the end. No one weight does that: a larger one makes the distance smaller,
    and the ratio of the terms not larger (benchmarks/results/defaults.md). Public code (DeepDA) has 10.
    """

    def terms(self, step: Step) -> dict[str, Tensor]:
        return {"coral": self.config.weight * coral(step.source.logits, step.target.logits)}
