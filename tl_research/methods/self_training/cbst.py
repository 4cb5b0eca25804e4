"""Class-balanced self-training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.config import at_least, share
from tl_research.data.batch import Samples
from tl_research.losses.pseudo_labels import class_balanced, class_thresholds, selected_cross_entropy
from tl_research.methods.base import AdaptationModule, Step
from tl_research.methods.target_probabilities import LateConfig
from tl_research.nn.fitted import Fitted
from tl_research.registry import register_method


@dataclass
class CBSTConfig(LateConfig):
    """Options of `cbst`: the weight and when it begins, and which share of each class's rows is taken."""

    name: str = "cbst"
    weight: float = at_least(0, default=1.0)
    warm_up: float = share(one=False, default=0.5)  # the paper begins with a trained model of the source
    portion: float = share(zero=False, default=0.2)  # of the rows of each predicted class, where it begins
    portion_end: float = share(zero=False, default=0.5)  # at the end; it grows evenly


@register_method(
    "cbst",
    config=CBSTConfig,
    family="self_training",
    settings=("unsupervised", "few_shot"),
    paper="Zou et al. 2018, ECCV, section on class-balanced self-training",
    no_null="on equal domains it is the loss of the model's own labels",
    no_gain="held against source_only on two moons (tests/methods/test_self_training.py)",
    targets=("class",),
)
class CBST(AdaptationModule):
    """Take the surest predictions of every class: CE(source) + weight * mean over target rows of 1[taken] CE(z, ŷ).

    ŷ = argmax_c p_c / t_c is taken where p_ŷ >= t_ŷ. The threshold t_c of a class is such that `portion` of the rows
    that are predicted as c reach it (the paper's exp(-k_c)). Thresholds are renewed when an epoch has begun, from the
    latest probabilities of all target rows, which a memory keeps; in the first epoch they are the batch's own. The
    paper's portion grows by 0.05 per round from 0.2 to 0.5; here evenly. `train/taken` in the history is the share of
    target rows whose label is taken.

    The defaults do not gain 5 points on two moons: docs/self_training.md has the options that do, and why.
    """

    def build(self) -> None:
        self.memory = Fitted()  # probability (rows, classes), thresholds (classes,), epoch ()

    def prepare(self, source: Samples, target: Samples, target_labeled: Samples | None) -> None:
        super().prepare(source, target, target_labeled)
        device = target.index.device
        self.memory.keep(
            probability=torch.zeros(int(target.index.max()) + 1, self.classes, device=device),
            thresholds=torch.zeros(self.classes, device=device),  # 0: not yet known
            epoch=torch.zeros((), dtype=torch.long, device=device),
        )

    def terms(self, step: Step) -> dict[str, Tensor]:
        config, rows = self.config, step.target
        probability = rows.logits.detach().softmax(dim=1)
        step.keep(probability=probability, index=rows.index)
        own = class_thresholds(probability, self._portion(step))
        thresholds = torch.where(self.memory.thresholds > 0, self.memory.thresholds.to(own.dtype), own)
        label, taken = class_balanced(probability, thresholds)
        step.report(taken=taken.float().mean())
        weight = config.weight if step.progress >= config.warm_up else 0.0
        return {"cbst": weight * selected_cross_entropy(rows.logits, label, taken)}

    def after_step(self, step: Step) -> None:
        memory = self.memory
        memory.probability[step.kept("index")] = step.kept("probability").to(memory.probability.dtype)
        if self.current_epoch > int(memory.epoch):
            memory.epoch.fill_(self.current_epoch)
            known = memory.probability[memory.probability.sum(dim=1) > 0]
            memory.keep(thresholds=class_thresholds(known, self._portion(step)))

    def _portion(self, step: Step) -> float:
        warm_up, begin, end = self.config.warm_up, self.config.portion, self.config.portion_end
        return begin + (end - begin) * max(0.0, step.progress - warm_up) / (1 - warm_up)
