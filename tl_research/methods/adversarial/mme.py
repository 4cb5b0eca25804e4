"""Minimax entropy."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.config import MethodConfig, at_least
from tl_research.losses.adversarial import reverse_gradient
from tl_research.losses.target_probabilities import row_entropies
from tl_research.methods.base import AdaptationModule, Step
from tl_research.registry import register_method


@dataclass
class MMEConfig(MethodConfig):
    """Options of `mme`: the weight of the entropy."""

    name: str = "mme"
    weight: float = at_least(0, default=0.1)  # lambda


@register_method(
    "mme",
    config=MMEConfig,
    family="adversarial",
    settings=("few_shot", "supervised"),
    targets=("class",),
    paper="Saito et al. 2019, ICCV, section 3.2 (MME)",
    no_null="its term reads the target alone",
    no_gain="on the problem of the contracts it gains 0.4 points over union, 1.0 with weight=0.3, and loses 5 with 1",
)
class MME(AdaptationModule):
    """The head makes unlabelled target rows uncertain, the encoder makes them certain.

    min over the encoder, max over the head of weight * mean_T H(p), beside (CE(source) + CE(target_labeled)) / 2; in
    one pass, by a reversed gradient between encoder and head. The head's weights move towards the target rows, which
    then gather round them. The paper's head compares directions (unit features, temperature 0.05); ours is linear.
    """

    def terms(self, step: Step) -> dict[str, Tensor]:
        logits = self.head(reverse_gradient(step.target.features, 1.0))
        return {"certainty": -self.config.weight * row_entropies(logits).mean()}
