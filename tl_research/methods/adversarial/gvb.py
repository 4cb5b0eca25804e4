"""Gradually vanishing bridge."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tl_research.config import at_least
from tl_research.data.batch import Inputs
from tl_research.losses.adversarial import domain_bce, reverse_gradient
from tl_research.losses.multilinear import entropy_weights
from tl_research.methods.base import AdaptationModule, Encoded, Step
from tl_research.methods.reversal import ReversalConfig, make_discriminator
from tl_research.registry import register_method


@dataclass
class GVBConfig(ReversalConfig):
    """Options of `gvb`: the reversed gradient, the discriminator, and the weights of both bridges."""

    name: str = "gvb"
    bridge: float = at_least(0, default=1.0)  # of the size of the bridge between features and predictions
    discriminator_bridge: float = at_least(0, default=1.0)  # of that of the discriminator's bridge


@register_method(
    "gvb",
    config=GVBConfig,
    family="adversarial",
    settings=("unsupervised", "few_shot"),
    targets=("class",),
    paper="Cui et al. 2020, CVPR (GVB-GD)",
    no_null="the bridges' sizes do not compare the domains",
    no_gain="0.0 points over source_only on two moons (docs/games.md)",
)
class GVB(AdaptationModule):
    """DANN on class probabilities, with bridges that take up what differs between the domains and are made to vanish.

    Logits are head(f) - b(f), b a linear bridge; the discriminator D has the class probabilities, and its logit is
    d - c, c a bridge of its own. min over encoder, head and b, max over D of

        CE(source) - lambda * BCE(D(p), domain) + bridge * mean |b(f)|,   D: BCE + discriminator_bridge * mean |c|

    A row counts in BCE by 1 + exp(-H(p)) as in `cdan_e`; public code has exp(-H(p)), scaled to sum 1, and reverses its
    gradient, too.
    """

    def build(self) -> None:
        self.bridge = nn.Linear(self.encoder.out_features, self.classes)
        self.discriminator = make_discriminator(self.classes, self.config.hidden, outputs=2)

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        features, logits = super().forward(inputs)
        return features, logits - self.bridge(features)

    def terms(self, step: Step) -> dict[str, Tensor]:
        config, sides = self.config, (step.source, step.target)
        scale = config.scale(step.progress)
        source, target = (self._judged(rows, scale) for rows in sides)
        weight_s, weight_t = (entropy_weights(rows.logits) for rows in sides)
        domain = domain_bce(
            source[:, 0] - source[:, 1], target[:, 0] - target[:, 1], source_weight=weight_s, target_weight=weight_t
        )
        bridges = self.bridge(torch.cat([rows.features for rows in sides]))
        of_discriminator = torch.cat([source[:, 1], target[:, 1]])
        return {
            "domain": domain,
            "bridge": config.bridge * bridges.abs().mean(),
            "discriminator_bridge": config.discriminator_bridge * of_discriminator.abs().mean(),
        }

    def _judged(self, rows: Encoded, scale: float) -> Tensor:
        """The discriminator's logit d and its bridge c, (n, 2)."""
        return self.discriminator(reverse_gradient(rows.logits.softmax(dim=1), scale))
