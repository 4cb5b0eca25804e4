"""Feature distillation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.config import at_least
from tl_research.losses.distillation import feature_distillation
from tl_research.methods.base import Step
from tl_research.methods.staged import ParameterConfig
from tl_research.methods.taught import TeacherMethod
from tl_research.registry import register_method


@dataclass
class FeatureDistillationConfig(ParameterConfig):
    """Options of `feature_distillation`: the weight of the distance between the features."""

    name: str = "feature_distillation"
    weight: float = at_least(0, default=1.0)


@register_method(
    "feature_distillation",
    config=FeatureDistillationConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="Romero et al. 2015, ICLR, eq. 3 (FitNets)",
    gain=0.06,
    gain_in="log_loss",
)
class FeatureDistillation(TeacherMethod):
    """Fine-tune with weight * mean (e(x) - e_s(x))²: the features of target rows stay near the source encoder's."""

    def terms(self, step: Step) -> dict[str, Tensor]:
        features, taught = step.local("target_labeled").features, self.taught(step).features
        return {"features": self.config.weight * feature_distillation(features, taught)}
