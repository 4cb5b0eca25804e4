"""Entropy minimisation: certain predictions of target rows."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.config import at_least
from tl_research.losses.target_probabilities import row_entropies
from tl_research.methods.target_probabilities import LateConfig, TargetProbabilities
from tl_research.registry import register_method


@dataclass
class EntropyMinimisationConfig(LateConfig):
    """Options of `entropy_minimisation`: the weight of the entropy, and when it begins."""

    name: str = "entropy_minimisation"
    weight: float = at_least(0, default=0.1)


@register_method(
    "entropy_minimisation",
    config=EntropyMinimisationConfig,
    family="self_training",
    settings=("unsupervised", "few_shot"),
    paper="Grandvalet & Bengio 2004, NeurIPS, section 2",
    no_null="the entropy of equal domains is that of the classes",
    no_gain="held against source_only on two moons (tests/methods/test_self_training.py)",
    targets=("class",),
)
class EntropyMinimisation(TargetProbabilities):
    """Put the decision where target rows are few: CE(source) + weight * mean of the target rows' entropies.

    The paper leaves the weight to validation.

    The defaults do not gain 5 points on two moons: docs/self_training.md has the options that do, and why.
    """

    def of_target(self, logits: Tensor) -> Tensor:
        return row_entropies(logits).mean()
