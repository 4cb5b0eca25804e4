"""ATDOC by neighbourhood aggregation: labels of the nearest target rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tl_research.config import MethodConfig, at_least
from tl_research.data.batch import Samples
from tl_research.losses.neighbourhood import neighbourhood_scores, sharpened_scores, weighted_cross_entropy
from tl_research.methods.base import AdaptationModule, Step
from tl_research.nn.fitted import Fitted
from tl_research.registry import register_method


@dataclass
class ATDOCConfig(MethodConfig):
    """Options of `atdoc`: the weight of the target's loss, and how many neighbours say a row's label."""

    name: str = "atdoc"
    weight: float = at_least(0, default=0.2)  # at the end; it grows evenly from 0
    neighbours: int = at_least(1, default=5)


@register_method(
    "atdoc",
    config=ATDOCConfig,
    family="self_training",
    settings=("unsupervised", "few_shot"),
    paper="Liang et al. 2021, CVPR, section 3 (neighbourhood aggregation)",
    no_null="on equal domains it is the loss of the neighbours' labels",
    no_gain="held against source_only on two moons (tests/methods/test_self_training.py)",
    targets=("class",),
)
class ATDOC(AdaptationModule):
    """CE(source) + weight * t * Σ_i w_i CE(z_i, ŷ_i) / Σ_i w_i over target rows, ŷ_i and w_i from the nearest rows.

    q_i is the mean of the class scores of the `neighbours` nearest other target rows by the features' cosine;
    ŷ_i = argmax q_i, w_i = max q_i, t the progress. A memory keeps features and scores of all target rows; scores are
    squared probabilities, divided by their sum per class over the batch. The memory holds rows * (features + classes)
    numbers, and a step compares its target rows with all of them.
    """

    def build(self) -> None:
        self.memory = Fitted()  # features (rows, out_features) of length 1, scores (rows, classes)

    def prepare(self, source: Samples, target: Samples, target_labeled: Samples | None) -> None:
        super().prepare(source, target, target_labeled)
        count, device = max(2, int(target.index.max()) + 1), target.index.device
        self.memory.keep(
            features=torch.zeros(count, self.encoder.out_features, device=device),
            scores=torch.full((count, self.classes), 1 / self.classes, device=device),
        )

    def terms(self, step: Step) -> dict[str, Tensor]:
        rows, memory = step.target, self.memory
        step.keep(
            features=F.normalize(rows.features.detach(), dim=1),
            scores=sharpened_scores(rows.logits.detach().softmax(dim=1)),
            index=rows.index,
        )
        found = neighbourhood_scores(
            rows.features, rows.index, memory.features, memory.scores, neighbours=self.config.neighbours
        )
        weight, label = found.max(dim=1)
        term = weighted_cross_entropy(rows.logits, label, weight)
        return {"atdoc": self.config.weight * step.progress * term}

    def after_step(self, step: Step) -> None:
        index, memory = step.kept("index"), self.memory
        memory.features[index] = step.kept("features").to(memory.features.dtype)
        memory.scores[index] = step.kept("scores").to(memory.scores.dtype)
