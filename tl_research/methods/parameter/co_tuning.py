"""Co-tuning."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.config import at_least, one_of
from tl_research.data.batch import Samples
from tl_research.losses.category_relation import calibrating_temperature, category_relation, relation_cross_entropy
from tl_research.methods.base import Step
from tl_research.methods.staged import ParameterConfig, ParameterMethod
from tl_research.nn.fitted import Fitted
from tl_research.registry import register_method


@dataclass
class CoTuningConfig(ParameterConfig):
    """Options of `co_tuning`: the weight of the source head's loss, and how p(y_s | y_t) is learned."""

    name: str = "co_tuning"
    weight: float = at_least(0, default=1.0)
    relation: str = one_of(("direct", "reverse"), default="direct")  # how p(y_s | y_t) is learned
    calibrate: bool = True


@register_method(
    "co_tuning",
    config=CoTuningConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="You et al. 2020, NeurIPS, eq. 2 and algorithm 1 (Co-Tuning)",
    targets=("class",),
    gain=0.015,
    gain_in="log_loss",
)
class CoTuning(ParameterMethod):
    """Fine-tune with weight * CE(p(y_s | y_t), source head): the source's head goes on beside a head of the target.

    The relation p(y_s | y_t) is learned from what the source model says of the labelled target rows. Its
    probabilities are calibrated by a temperature on those rows, which the source model has not seen (the paper
    calibrates on held-out source rows, which no method here is shown). The authors weigh the term by 2.3.
    """

    def build(self) -> None:
        self.category = Fitted()

    def make_target_parts(self) -> None:
        self.source_head = copy.deepcopy(self.head)
        super().make_target_parts()

    @torch.no_grad()
    def enter_target_stage(self, labeled: Samples) -> None:
        training = self.encoder.training
        self.encoder.eval()
        logits = self.source_head(self.encoder(labeled.inputs)).double()
        self.encoder.train(training)
        temperature = calibrating_temperature(logits, labeled.label) if self.config.calibrate else 1.0
        probability = torch.softmax(logits / temperature, dim=1)
        relation = category_relation(probability, labeled.label, self.classes, learned=self.config.relation)
        self.category.keep(relation=relation.to(self.device, torch.float32))
        self.facts["co_tuning"] = {"temperature": temperature, "relation": relation.tolist()}

    def terms(self, step: Step) -> dict[str, Tensor]:
        rows = step.local("target_labeled")
        logits = self.source_head(rows.features)
        return {
            "source_classes": self.config.weight * relation_cross_entropy(logits, self.category.relation, rows.label)
        }
