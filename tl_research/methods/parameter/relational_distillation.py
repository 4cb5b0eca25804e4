"""Relational knowledge distillation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.config import at_least
from tl_research.losses.relational import relational_angle, relational_distance
from tl_research.methods.base import Step
from tl_research.methods.staged import ParameterConfig
from tl_research.methods.taught import TeacherMethod
from tl_research.parallel.ranks import gather_rows
from tl_research.registry import register_method


@dataclass
class RelationalDistillationConfig(ParameterConfig):
    """Options of `relational_distillation`: the weights of distances and of angles, and how many rows form triplets."""

    name: str = "relational_distillation"
    distance_weight: float = at_least(0, default=1.0)
    angle_weight: float = at_least(0, default=2.0)
    # Of a batch at most, whose triplets are compared: the cost is cubic.
    angle_rows: int = at_least(3, default=64)


@register_method(
    "relational_distillation",
    config=RelationalDistillationConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="Park et al. 2019, CVPR, eq. 5 to 10 (RKD)",
    gain=0.03,
    gain_in="log_loss",
)
class RelationalDistillation(TeacherMethod):
    """Fine-tune so that distances and angles between target rows stay those of the source's features.

    + distance_weight * RKD-D + angle_weight * RKD-A, over the pairs and triplets of a batch; a batch too small for
    either does without it. The weights 1 and 2 are those of the authors for metric learning; public code for
    classification has 25 and 50.
    """

    def terms(self, step: Step) -> dict[str, Tensor]:
        student, teacher = step.labeled.features, gather_rows(self.taught(step).features)
        few = self.config.angle_rows
        terms = {}
        for name, loss, weight, limit, fewest in (
            ("distance", relational_distance, self.config.distance_weight, None, 2),
            ("angle", relational_angle, self.config.angle_weight, few, 3),
        ):
            enough = len(student) >= fewest
            value = loss(student[:limit], teacher[:limit]) if enough else student.sum() * 0.0
            terms[name] = weight * value
        return terms
