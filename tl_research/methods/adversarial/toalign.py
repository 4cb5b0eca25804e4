"""Task-oriented alignment."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.losses.adversarial import domain_bce, reverse_gradient
from tl_research.losses.task_oriented import task_oriented
from tl_research.methods.base import AdaptationModule, Encoded, Step
from tl_research.methods.reversal import ReversalConfig, make_discriminator
from tl_research.registry import register_method


@dataclass
class ToAlignConfig(ReversalConfig):
    """Options of `toalign`: the reversed gradient, and the discriminator."""

    name: str = "toalign"


@register_method(
    "toalign",
    config=ToAlignConfig,
    family="adversarial",
    settings=("unsupervised", "few_shot"),
    targets=("class",),
    paper="Wei et al. 2021, NeurIPS, section 3.2",
    no_null="the discriminator has source features times slopes, and target features as they are",
    no_gain="loses 2.0 points on two moons with its recipe, 2.7 without (docs/games.md)",
)
class ToAlign(AdaptationModule):
    """DANN that aligns the target with that part of the source's features which the classes are read from.

    min over encoder and head, max over D of  CE(source) - lambda * BCE(D(s w ⊙ f_S), source; D(f_T), target), w the
    gradient of the row's class logit by its features and held constant, s the factor that keeps the row's length.
    For a linear head w is the weights of the row's class, as in public code.
    """

    def build(self) -> None:
        self.discriminator = make_discriminator(self.encoder.out_features, self.config.hidden)

    @classmethod
    def needs_whole_weights(cls) -> str | None:
        return "differentiates by the features within a step"

    def terms(self, step: Step) -> dict[str, Tensor]:
        scale = self.config.scale(step.progress)
        aligned = task_oriented(step.source.features, self._slope(step.source))
        logit_s, logit_t = (
            self.discriminator(reverse_gradient(features, scale)).squeeze(1)
            for features in (aligned, step.target.features)
        )
        return {"domain": domain_bce(logit_s, logit_t)}

    def _slope(self, rows: Encoded) -> Tensor:
        """Gradient (n, features) of each row's class logit by its features."""
        with torch.enable_grad():
            features = rows.features.detach().requires_grad_()
            logits = self.head(features).gather(1, rows.label[:, None])
            (slope,) = torch.autograd.grad(logits.sum(), features)
        return slope
