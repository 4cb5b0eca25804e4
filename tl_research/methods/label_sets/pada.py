"""Partial adversarial domain adaptation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.losses.adversarial import domain_bce, reverse_gradient
from tl_research.losses.label_sets import class_shares
from tl_research.methods.base import AdaptationModule, Step
from tl_research.methods.reversal import ReversalConfig, make_discriminator
from tl_research.registry import register_method


@dataclass
class PADAConfig(ReversalConfig):
    """Options of `pada`: those of `dann`."""

    name: str = "pada"


@register_method(
    "pada",
    config=PADAConfig,
    family="label_sets",
    settings=("unsupervised", "few_shot"),
    targets=("class",),
    paper="Cao et al. 2018, ECCV, eq. 3 to 5",
    null=math.log(2.0),
    gain=0.03,
    over=("dann",),
    problem=(
        "data.name=simulated_classes",
        "data.shift=4",
        "data.label_sets=partial",
        "data.target_classes=[c0,c1,c2]",
    ),
)
class PADA(AdaptationModule):
    """`dann` in which source rows of classes that the target seems to lack count less.

    With γ_c the mean probability of class c over the target rows, divided by that of the largest class,

        min over encoder and head, max over D of
        mean_S γ_y CE - lambda * [½ mean_S γ_y BCE(D(f), source) + ½ mean_T BCE(D(f), target)].

    γ is that of the last epoch's target batches, and 1 in the first epoch; the authors' code renews it every 500 steps.
    """

    def build(self) -> None:
        self.discriminator = make_discriminator(self.encoder.out_features, self.config.hidden)
        self.register_buffer("class_weight", torch.ones(self.classes))
        self.register_buffer("sums", torch.zeros(self.classes))  # of this epoch's class probabilities of target rows
        self.register_buffer("epoch", torch.zeros((), dtype=torch.long))

    def source_weights(self, step: Step) -> Tensor | None:
        weight, given = self.class_weight[step.local("source").label], super().source_weights(step)
        return weight if given is None else weight * given

    def terms(self, step: Step) -> dict[str, Tensor]:
        scale = self.config.scale(step.progress)
        logit_s, logit_t = (
            self.discriminator(reverse_gradient(rows.features, scale)).squeeze(1) for rows in (step.source, step.target)
        )
        step.keep(probability=step.target.logits.softmax(dim=1))
        return {"domain": domain_bce(logit_s, logit_t, source_weight=self.class_weight[step.source.label])}

    def after_step(self, step: Step) -> None:
        if self.current_epoch > int(self.epoch):
            self.class_weight.copy_(class_shares(self.sums))
            self.sums.zero_()
            self.epoch.fill_(self.current_epoch)
        self.sums += step.kept("probability").sum(dim=0).to(self.sums.dtype)
