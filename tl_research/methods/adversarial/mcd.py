"""Maximum classifier discrepancy."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.config import at_least
from tl_research.data.batch import Inputs
from tl_research.losses.classifier_games import classifier_discrepancy
from tl_research.methods.base import Step
from tl_research.methods.objectives import Objective
from tl_research.methods.two_heads import TwoHeads, TwoHeadsConfig
from tl_research.registry import register_method


@dataclass
class MCDConfig(TwoHeadsConfig):
    """Options of `mcd`: the weight of the discrepancy, the steps of the encoder per turn, and the heads."""

    name: str = "mcd"
    weight: float = at_least(0, default=1.0)
    num_k: int = at_least(1, default=4)  # steps that the encoder takes against the discrepancy, per batch


@register_method(
    "mcd",
    config=MCDConfig,
    family="adversarial",
    settings=("unsupervised", "few_shot"),
    targets=("class",),
    paper="Saito et al. 2018, CVPR, section 3.3 (steps A, B, C)",
    no_gain="held against source_only on two moons (tests/methods/test_games.py)",
)
class MCD(TwoHeads):
    """Two heads disagree on target rows far from the source; the encoder makes them agree.

    Per batch, with d the mean absolute difference of the heads' probabilities on target rows:

        A  encoder and heads:  CE_1(source) + CE_2(source)
        B  heads:              CE_1(source) + CE_2(source) - weight * d
        C  encoder:            weight * d, `num_k` times

    The mean of the heads' logits predicts. A step takes more than three times as long as that of `source_only`: its
    six optimiser steps are the method.
    """

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        features, logits = super().forward(inputs)
        return features, logits if self.training else (logits + self.second(features)) / 2

    def objectives(self) -> list[Objective]:
        return [
            Objective("task", ("encoder", "head", "second"), self.both_tasks),
            Objective("heads", ("head", "second"), lambda step: self.both_tasks(step) | self._gap(step, sign=-1)),
            Objective("features", ("encoder",), self._gap, every=self.config.num_k),
        ]

    def _gap(self, step: Step, sign: int = 1) -> dict[str, Tensor]:
        target = step.target
        gap = classifier_discrepancy(target.logits, self.second(target.features))
        return {"discrepancy": sign * self.config.weight * gap}
