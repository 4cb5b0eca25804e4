"""SHOT: information maximisation and labels of the nearest class centroid, from a source model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tl_research.config import at_least
from tl_research.data.batch import Samples
from tl_research.losses.source_free import centroid_labels, information_maximisation
from tl_research.methods.base import Step
from tl_research.methods.finished_run import RemembersTarget, SourceFreeConfig
from tl_research.registry import register_method


@dataclass
class SHOTConfig(SourceFreeConfig):
    """Options of `shot`: the weights of information and of the centroids' labels."""

    name: str = "shot"
    information: float = at_least(0, default=1.0)
    labels: float = at_least(0, default=0.3)


@register_method(
    "shot",
    config=SHOTConfig,
    family="source_free",
    settings=("source_free",),
    paper="Liang et al. 2020, ICML, equation 7",
    no_null="on equal domains it is the loss of the model's own labels",
    no_gain="held against source_only on two moons (tests/methods/test_source_free.py)",
    targets=("class",),
)
class SHOT(RemembersTarget):
    """`shot_im` and labels of centroids: information * (mean_i H(p_i) - H(mean_i p_i)) + labels * CE(z, ŷ).

    ŷ_i is the class of the nearest centroid (`losses.source_free.centroid_labels`), made anew when an epoch has begun
    from the latest features of all target rows. The paper makes one more pass over the rows for them; the first labels,
    of the source model, are the same. The head is frozen. `labels` is 0.1 on digits in the paper. `train/changed` in
    the history is the share of rows whose ŷ is not the model's own class: where it is large at first, centroids and
    model disagree, and one of them is wrong.
    """

    def prepare(self, source: Samples | None, target: Samples, target_labeled: Samples | None) -> None:
        super().prepare(source, target, target_labeled)
        memory = self.memory
        memory.keep(
            label=centroid_labels(memory.features, memory.probability),
            epoch=torch.zeros((), dtype=torch.long, device=target.index.device),
        )

    def terms(self, step: Step) -> dict[str, Tensor]:
        self.remember(step)
        rows, config = step.target, self.config
        label = self.memory.label[rows.index]
        step.report(changed=(label != rows.logits.detach().argmax(dim=1)).float().mean())
        return {
            "information": config.information * information_maximisation(rows.logits),
            "labels": config.labels * F.cross_entropy(rows.logits, label),
        }

    def after_step(self, step: Step) -> None:
        super().after_step(step)
        memory = self.memory
        if self.current_epoch > int(memory.epoch):
            memory.epoch.fill_(self.current_epoch)
            memory.keep(label=centroid_labels(memory.features, memory.probability))
