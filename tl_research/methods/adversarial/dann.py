"""Domain-adversarial training of neural networks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from tl_research.config import MethodConfig, all_at_least, at_least
from tl_research.losses.adversarial import domain_bce, ganin_ramp, reverse_gradient
from tl_research.methods.base import AdaptationModule, Step
from tl_research.nn.mlp import mlp_layers
from tl_research.registry import register_method


@dataclass
class DANNConfig(MethodConfig):
    """Options of `dann`: the weight λ of the reversed gradient and its ramp, and the discriminator."""

    name: str = "dann"
    weight: float = at_least(0, default=1.0)  # lambda: of the reversed gradient, at the end of the ramp
    ramp: bool = True  # lambda grows with progress as 2 / (1 + exp(-10 p)) - 1; otherwise it is constant
    hidden: list[int] = all_at_least(1, fewest=0, default=[256])  # discriminator widths; [] is logistic regression


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
        layers, width = mlp_layers(
            self.encoder.out_features, self.config.hidden, activation="relu", dropout=0.0, batch_norm=False
        )
        self.discriminator = layers.append(nn.Linear(width, 1))

    def terms(self, step: Step) -> dict[str, Tensor]:
        scale = self.config.weight * (ganin_ramp(step.progress) if self.config.ramp else 1.0)
        logit_s = self.discriminator(reverse_gradient(step.source.features, scale)).squeeze(1)
        logit_t = self.discriminator(reverse_gradient(step.target.features, scale)).squeeze(1)
        return {"domain": domain_bce(logit_s, logit_t)}
