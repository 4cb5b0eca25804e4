"""Conditional domain-adversarial networks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.config import at_least
from tl_research.losses.adversarial import domain_bce, reverse_gradient
from tl_research.losses.multilinear import entropy_weights, multilinear_map, randomised_multilinear_map
from tl_research.methods.base import AdaptationModule, Encoded, Step
from tl_research.methods.reversal import ReversalConfig, make_discriminator
from tl_research.registry import register_method


@dataclass
class CDANConfig(ReversalConfig):
    """Options of `cdan`: the reversed gradient, the discriminator, and what it sees of a row."""

    name: str = "cdan"
    entropy: bool = False  # whether rows of certain predictions count more in the discriminator's loss
    randomised_above: int = at_least(0, default=4096)  # products (features × classes) from which on few are drawn
    randomised_width: int = at_least(1, default=1024)  # how many are drawn


@register_method(
    "cdan",
    config=CDANConfig,
    family="adversarial",
    settings=("unsupervised", "few_shot"),
    targets=("class",),
    paper="Long et al. 2018, NeurIPS, section 3 (CDAN)",
    null=math.log(2.0),
    no_gain="4.0 points over source_only on two moons, below the 5 that are wanted (docs/games.md)",
)
class CDAN(AdaptationModule):
    """Align features and predictions together: DANN whose discriminator D sees their products.

    min over encoder and head, max over D of  CE(source) - lambda * BCE(D(T(f, g)), domain), g the class probabilities.
    T(f, g) has all products f_j g_c, or, where these are more than `randomised_above`, `randomised_width` random ones.
    g is held constant, as in public code: the game trains the encoder through f alone. With `entropy`
    a row counts in BCE by w = 1 + exp(-H(g)), scaled to mean 1 in each domain and without a gradient; the authors'
    code reverses the gradient of w, too.

    The discriminator reads features times classes, which takes a step to three times that of `source_only`
    (docs/step_cost.md).
    """

    def build(self) -> None:
        features, config = self.encoder.out_features, self.config
        width = features * self.classes
        self.randomised = width > config.randomised_above
        if self.randomised:
            width = config.randomised_width
            self.register_buffer("of_features", torch.randn(width, features))
            self.register_buffer("of_classes", torch.randn(width, self.classes))
        self.discriminator = make_discriminator(width, config.hidden)

    def terms(self, step: Step) -> dict[str, Tensor]:
        scale = self.config.scale(step.progress)
        logit_s, logit_t = (self.domain_logit(rows, scale) for rows in (step.source, step.target))
        if not self.config.entropy:
            return {"domain": domain_bce(logit_s, logit_t)}
        weight_s, weight_t = (entropy_weights(rows.logits) for rows in (step.source, step.target))
        return {"domain": domain_bce(logit_s, logit_t, source_weight=weight_s, target_weight=weight_t)}

    def domain_logit(self, rows: Encoded, scale: float) -> Tensor:
        """Return the discriminator's logit (n,) of each row; `scale` is of the gradient that it sends back."""
        features, probability = reverse_gradient(rows.features, scale), rows.logits.detach().softmax(dim=1)
        if self.randomised:
            products = randomised_multilinear_map(features, probability, self.of_features, self.of_classes)
        else:
            products = multilinear_map(features, probability)
        return self.discriminator(products).squeeze(1)
