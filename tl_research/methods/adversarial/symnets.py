"""Domain-symmetric networks."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.config import all_at_least, at_least
from tl_research.data.batch import Inputs
from tl_research.losses.adversarial import ganin_ramp
from tl_research.losses.symmetric_heads import category_confusion, domain_confusion, domain_of_heads, joint_logits
from tl_research.losses.target_probabilities import row_entropies
from tl_research.methods.base import Step
from tl_research.methods.objectives import Objective
from tl_research.methods.two_heads import TwoHeads, TwoHeadsConfig
from tl_research.registry import register_method


@dataclass
class SymNetsConfig(TwoHeadsConfig):
    """Options of `symnets`: the weight of what the encoder does on target rows, its ramp, and the heads."""

    name: str = "symnets"
    weight: float = at_least(0, default=1.0)  # lambda: of confusion and entropy on target rows, at the end of the ramp
    ramp: bool = True  # lambda grows with progress as 2 / (1 + exp(-10 p)) - 1; otherwise it is constant
    hidden: list[int] = all_at_least(1, fewest=0, default=[])  # widths of each head's hidden layers


@register_method(
    "symnets",
    config=SymNetsConfig,
    family="adversarial",
    settings=("unsupervised", "few_shot"),
    targets=("class",),
    paper="Zhang et al. 2019, CVPR, section 3",
    no_gain="0.0 points over source_only on two moons, -2.7 with its recipe (docs/games.md)",
)
class SymNets(TwoHeads):
    """Two heads, the source's and the target's, whose 2K logits are a classifier of class and domain at once.

    Per batch, with p over all 2K logits (`losses/symmetric_heads.py`):

        heads:    CE_s(source) + CE_t(source) - mean_S ln Σ_k p_k - mean_T ln Σ_k p_{k+K}
        encoder:  category confusion(source) + lambda * [domain confusion(target) + entropy of p_k + p_{k+K} (target)]

    There is no other discriminator. The target's head predicts. The encoder learns the source's classes from the
    category confusion alone.

    Two optimiser steps per batch take three times a step of `source_only` (docs/step_cost.md).
    """

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        features, logits = super().forward(inputs)
        return features, logits if self.training else self.second(features)

    def objectives(self) -> list[Objective]:
        return [
            Objective("heads", ("head", "second"), self._tell_apart),
            Objective("features", ("encoder",), self._confuse),
        ]

    def _tell_apart(self, step: Step) -> dict[str, Tensor]:
        source, target = ((rows.logits, self.second(rows.features)) for rows in (step.source, step.target))
        return self.both_tasks(step) | {"domain": domain_of_heads(source, target)}

    def _confuse(self, step: Step) -> dict[str, Tensor]:
        source, target = step.source, step.target
        scale = self.config.weight * (ganin_ramp(step.progress) if self.config.ramp else 1.0)
        both = target.logits, self.second(target.features)
        return {
            "category": category_confusion(source.logits, self.second(source.features), source.label),
            "confusion": scale * domain_confusion(*both),
            "entropy": scale * row_entropies(joint_logits(*both)).mean(),
        }
