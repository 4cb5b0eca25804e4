"""Domain-adversarial training of neural networks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from tl_research.losses.adversarial import domain_bce, reverse_gradient
from tl_research.methods.base import AdaptationModule, Step
from tl_research.methods.reversal import ReversalConfig, make_discriminator
from tl_research.registry import register_method


@dataclass
class DANNConfig(ReversalConfig):
    """Options of `dann`: the weight λ of the reversed gradient and its ramp, and the discriminator."""

    name: str = "dann"


@register_method(
    "dann",
    config=DANNConfig,
    family="adversarial",
    settings=("unsupervised", "few_shot"),
    paper="Ganin et al. 2016, JMLR 17(59), eq. 9",
    null=math.log(2.0),
    gain=0.02,
)
class DANN(AdaptationModule):
    """Domain-adversarial training: features a discriminator D cannot tell the domain from.

    min over encoder and head, max over D of  CE(source) - lambda * BCE(D(f), domain), in one pass: the
    discriminator descends its own BCE and the reversed gradient reaches the encoder with factor lambda. BCE is half
    the sum of the two domains' means, as in public code; eq. 9 has the whole sum: its lambda of 1 is 2 here.
    """

    def build(self) -> None:
        self.discriminator = make_discriminator(self.encoder.out_features, self.config.hidden)

    def terms(self, step: Step) -> dict[str, Tensor]:
        scale = self.config.scale(step.progress)
        logit_s = self.discriminator(reverse_gradient(step.source.features, scale)).squeeze(1)
        logit_t = self.discriminator(reverse_gradient(step.target.features, scale)).squeeze(1)
        return {"domain": domain_bce(logit_s, logit_t)}
