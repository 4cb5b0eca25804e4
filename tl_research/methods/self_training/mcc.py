"""Minimum class confusion."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.config import above, at_least
from tl_research.losses.target_probabilities import class_confusion
from tl_research.methods.target_probabilities import LateConfig, TargetProbabilities
from tl_research.registry import register_method


@dataclass
class MCCConfig(LateConfig):
    """Options of `mcc`: the weight of the confusion and when it begins, and the temperature of its probabilities."""

    name: str = "mcc"
    weight: float = at_least(0, default=1.0)
    temperature: float = above(0, default=2.5)


@register_method(
    "mcc",
    config=MCCConfig,
    family="self_training",
    settings=("unsupervised", "few_shot"),
    paper="Jin et al. 2020, ECCV, section 3",
    no_null="the confusion of equal domains is that of the classes",
    no_gain="held against source_only on two moons (tests/methods/test_self_training.py)",
    targets=("class",),
)
class MCC(TargetProbabilities):
    """Keep classes apart on target rows: CE(source) + weight * class confusion of the target's batch.

    The defaults do not gain 5 points on two moons: docs/self_training.md has the options that do, and why.
    """

    def of_target(self, logits: Tensor) -> Tensor:
        return class_confusion(logits, temperature=self.config.temperature)
