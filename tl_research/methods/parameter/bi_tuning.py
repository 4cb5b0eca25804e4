"""Bi-tuning."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tl_research.config import above, at_least, share
from tl_research.losses.contrastive import supervised_contrastive
from tl_research.methods.base import Step
from tl_research.methods.staged import ParameterConfig, ParameterMethod
from tl_research.nn.frozen import FrozenCopy, values_of
from tl_research.nn.key_queue import KeyQueue
from tl_research.parallel.ranks import gather_rows
from tl_research.registry import register_method


@dataclass
class BiTuningConfig(ParameterConfig):
    """Options of `bi_tuning`: the weights of its two losses, their temperature, and how the keys are made and kept."""

    name: str = "bi_tuning"
    classifier_weight: float = at_least(0, default=0.1)
    projector_weight: float = at_least(0, default=0.1)
    temperature: float = above(0, default=0.07)
    projection: int = at_least(1, default=128)  # width of the projector's output
    queue: int = at_least(0, default=32)  # keys kept of each class; 0: the batch's keys only
    momentum: float = share(one=False, default=0.999)  # of the encoder that makes the keys


@register_method(
    "bi_tuning",
    config=BiTuningConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="Zhong et al. 2020, arXiv:2011.06182, sections 3.2 and 3.3 (Bi-tuning)",
    targets=("class",),
    gain=0.04,
    gain_in="log_loss",
)
class BiTuning(ParameterMethod):
    """Fine-tune with  classifier_weight * L_CCE + projector_weight * L_CCL,  two contrastive losses with labels.

    L_CCE contrasts the classifier's weights of a row's class with the features of the batch and of the queue, L_CCL a
    row's projection with the keys of the batch and of the queue. Keys are made by a copy of encoder and projector
    that follows them with `momentum`; positives are the keys of the row's class. Public code has weights of 1 and 1
    and 40 keys per class; on the tasks of benchmarks/results/defaults.md target_val prefers a tenth. The head's bias is
    left out of L_CCE, whose gradient reaches the head here and not in public code.
    """

    def make_target_parts(self) -> None:
        super().make_target_parts()
        width, config = self.encoder.out_features, self.config
        with torch.random.fork_rng(devices=[]):
            projector = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, config.projection))
        self.projector = projector.to(self.head.weight)
        self.key_encoder, self.key_projector = FrozenCopy(self.encoder), FrozenCopy(self.projector)
        self.feature_queue = KeyQueue(self.classes, config.queue, width).to(self.head.weight.device)
        self.key_queue = KeyQueue(self.classes, config.queue, config.projection).to(self.head.weight.device)

    def terms(self, step: Step) -> dict[str, Tensor]:
        config, rows = self.config, step.labeled
        with torch.no_grad():
            key_features = self.key_encoder(step.batch.target_labeled.inputs)
            keys = gather_rows(self.key_projector(key_features))
            key_features = gather_rows(key_features)
        step.keep(key_features=key_features, keys=keys, label=rows.label)
        features, label = rows.features, rows.label
        classifier = supervised_contrastive(
            self.head.weight[label],
            label,
            *_with_queue(features, label, self.feature_queue),
            temperature=config.temperature,
        )
        projector = supervised_contrastive(
            self.projector(features), label, *_with_queue(keys, label, self.key_queue), temperature=config.temperature
        )
        return {
            "classifier_contrast": config.classifier_weight * classifier,
            "projector_contrast": config.projector_weight * projector,
        }

    def after_step(self, step: Step) -> None:
        if self.config.queue:
            self.feature_queue.push(step.kept("key_features"), step.kept("label"))
            self.key_queue.push(step.kept("keys"), step.kept("label"))
        for key, query in ((self.key_encoder, self.encoder), (self.key_projector, self.projector)):
            own = key.values()
            for name, value in values_of(query).items():
                if value.is_floating_point():
                    own[name].lerp_(value, 1 - self.config.momentum)
                else:
                    own[name].copy_(value)


def _with_queue(keys: Tensor, label: Tensor, queue: KeyQueue) -> tuple[Tensor, Tensor]:
    return torch.cat([keys, queue.keys.to(keys.dtype)]), torch.cat([label, queue.label])
