"""Learning without forgetting."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from torch import Tensor

from tl_research.config import above, at_least
from tl_research.losses.distillation import distillation
from tl_research.methods.base import Step
from tl_research.methods.staged import ParameterConfig
from tl_research.methods.taught import TeacherMethod
from tl_research.registry import register_method


@dataclass
class LwFConfig(ParameterConfig):
    """Options of `lwf`: the weight of the distillation, and the temperature T that softens both sides."""

    name: str = "lwf"
    weight: float = at_least(0, default=1.0)
    temperature: float = above(0, default=2.0)


@register_method(
    "lwf",
    config=LwFConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="Li & Hoiem 2016, ECCV, eq. 2 and figure 3 (LwF)",
    targets=("class",),
    no_gain="it keeps what the source model knew, and on the problem predicts the target no better than fine_tune",
)
class LwF(TeacherMethod):
    """Fine-tune with weight * T² KL(source model || old head of the encoder in training), on target rows.

    The old head begins as the source's and is trained by this term alone; predictions are the other head's. The paper
    has no T² (its λ of 1 at T = 2 is `weight` 0.25 here) and trains the new head alone first, which is left out here.
    """

    def make_target_parts(self) -> None:
        self.old_head = copy.deepcopy(self.head)
        super().make_target_parts()

    def terms(self, step: Step) -> dict[str, Tensor]:
        old, taught = self.old_head(step.local("target_labeled").features), self.taught(step).logits
        return {"old_task": self.config.weight * distillation(old, taught, temperature=self.config.temperature)}
