"""Importance-weighted adversarial nets."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tl_research.config import MethodConfig, all_at_least, at_least
from tl_research.errors import ConfigError
from tl_research.losses.adversarial import domain_bce, ganin_ramp, reverse_gradient
from tl_research.methods.base import AdaptationModule, Step
from tl_research.nn.mlp import mlp_layers
from tl_research.registry import register_method


@dataclass
class IWANConfig(MethodConfig):
    """Options of `iwan`: the weights λ and γ of its terms, the ramp of λ, and both discriminators."""

    name: str = "iwan"
    weight: float = at_least(0, default=1.0)  # lambda: of the reversed gradient, at the end of the ramp
    ramp: bool = True  # lambda grows with progress as 2 / (1 + exp(-10 p)) - 1; otherwise it is constant
    # gamma: of the entropy of the target's predictions (the paper's partial tasks: 0.1).
    entropy: float = at_least(0, default=0.0)
    hidden: list[int] = all_at_least(1, fewest=0, default=[256])  # widths of both discriminators


@register_method(
    "iwan",
    config=IWANConfig,
    family="instance",
    settings=("unsupervised", "few_shot"),
    paper="Zhang et al. 2018, CVPR, eq. 7 to 13",
    null=2 * math.log(2.0),
    gain=0.05,
)
class IWAN(AdaptationModule):
    """Importance-weighted adversarial nets: align the target with those source rows that look like it.

    A first discriminator D, on features without a gradient to the encoder, tells source from target rows; a source
    row's weight is what D thinks it has of the target,

        w(z) = (1 - D(z)) / mean_source (1 - D),   D(z) = P(source | z),

    of mean 1 in the batch, and the second discriminator D_0 plays DANN's game against the encoder with it:

        min over encoder and head, max over D_0 of
        CE(source) + gamma H(p_T) - lambda * [½ mean_i w_i BCE(D_0(f_i), source) + ½ mean_j BCE(D_0(f_j), target)].

    One encoder serves both domains, as in DANN; the paper adapts a copy to the target and leaves that of the source.
    The ramp is DANN's, up to `weight` = 1 with slope 10; the authors' code ends at 0.1 with slope 1, and has gamma 0.1.
    """

    def build(self) -> None:
        if self.config.entropy and not self.outcome.names:
            raise ConfigError("method.entropy: a regression has no class probabilities; wants 0")
        self.weigher, self.discriminator = self._discriminator(), self._discriminator()

    def _discriminator(self) -> nn.Sequential:
        layers, width = mlp_layers(
            self.encoder.out_features, self.config.hidden, activation="relu", dropout=0.0, batch_norm=False
        )
        return layers.append(nn.Linear(width, 1))

    def importance(self, source_logit: Tensor) -> Tensor:
        """Weights (n,) of mean 1 from the first discriminator's logits (n,) of P(target | z)."""
        share = torch.sigmoid(source_logit.detach())
        return share / share.mean().clamp_min(torch.finfo(share.dtype).tiny)

    def terms(self, step: Step) -> dict[str, Tensor]:
        source, target = step.source, step.target
        weigher_s, weigher_t = (self.weigher(rows.features.detach()).squeeze(1) for rows in (source, target))
        scale = self.config.weight * (ganin_ramp(step.progress) if self.config.ramp else 1.0)
        logit_s, logit_t = (
            self.discriminator(reverse_gradient(rows.features, scale)).squeeze(1) for rows in (source, target)
        )
        terms = {
            "weigher": domain_bce(weigher_s, weigher_t),
            "domain": domain_bce(logit_s, logit_t, source_weight=self.importance(weigher_s)),
        }
        if self.config.entropy:
            log_p = target.logits.log_softmax(dim=1)
            terms["entropy"] = self.config.entropy * -(log_p.exp() * log_p).sum(dim=1).mean()
        return terms
