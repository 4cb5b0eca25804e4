"""Deep cocktail network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tl_research.config import MethodConfig, all_at_least, at_least
from tl_research.losses.adversarial import ganin_ramp
from tl_research.losses.several_sources import perplexity_weights, uniform_bce
from tl_research.methods.base import full_precision
from tl_research.methods.objectives import Objective
from tl_research.methods.source_parts import NEWEST, SourceDiscriminators, SourceHeadsMethod, domain_bces
from tl_research.methods.step import Step
from tl_research.registry import register_method


@dataclass
class DCTNConfig(MethodConfig):
    """Options of `dctn`: the weight of the confusion and its ramp, and the discriminators."""

    name: str = "dctn"
    weight: float = at_least(0, default=1.0)  # of the confusion, at the end of the ramp
    ramp: bool = True  # the weight grows with progress as 2 / (1 + exp(-10 p)) - 1; otherwise it is constant
    hidden: list[int] = all_at_least(1, fewest=0, default=[256])  # discriminator widths; [] is logistic regression


@register_method(
    "dctn",
    config=DCTNConfig,
    family="several_sources",
    settings=("unsupervised", "few_shot"),
    targets=("class",),
    paper="Xu et al. 2018, CVPR, eq. 3 to 8 and algorithm 1",
    no_gain="held against source_only on planted_sources (tests/methods/test_several_sources.py)",
    problem=("data.sources=[old_market,third_market]",),
)
class DCTN(SourceHeadsMethod):
    """A head and a discriminator for each source; a target row hears the sources that it is taken for.

    Per batch, with z_i (n,) the logit of discriminator i for "target" and j the source that is told best:

        discriminators:    mean_i BCE_i(source i, target)
        encoder and heads: mean_i CE_i(source i) + weight * ramp(p) * confusion_j

    confusion_j is the cross-entropy of z_j with "either", on the rows of source j and of the target: ln 2 at least. A
    row's prediction is Σ_i w_i p_i, w_i in proportion to the perplexity score softplus(-z_i) + alpha_i, alpha_i the
    moving average of softplus(z_i) on source i ("averaging the source discriminator losses"). The record has the mean
    weights on target rows. Left out: the stage that alternates with this one and trains on confident pseudo labels, and
    the training on the sources that goes before, in whose place the ramp stands; the paper has no such weight.
    """

    alpha: Tensor

    def build(self) -> None:
        super().build()
        self.discriminators = SourceDiscriminators(self.encoder.out_features, self.sources, self.config.hidden)
        self.register_buffer("alpha", torch.zeros(self.sources))

    def mixture_weights(self, features: Tensor) -> Tensor:
        # Predictions do not train the discriminators, nor the encoder through them.
        with torch.no_grad():
            return perplexity_weights(full_precision(self.discriminators(features)), self.alpha)

    def objectives(self) -> list[Objective]:
        return [
            Objective("discriminators", ("discriminators",), self._tell_apart),
            Objective("features", ("encoder", "head"), lambda step: self.task_losses(step) | self._confuse(step)),
        ]

    def after_step(self, step: Step) -> None:
        if step.objective == "discriminators":
            self.alpha.lerp_(step.kept("alpha").mean(dim=0), NEWEST)
            self.move_weights(step.kept("weight"))

    def _tell_apart(self, step: Step) -> dict[str, Tensor]:
        source, target, shares = step.source, step.target, self.shares(step.source)
        of_source, of_target = (self.discriminators(rows.features) for rows in (source, target))
        is_there = shares.sum(dim=1) > 0
        own = (shares * F.softplus(of_source.detach())).sum(dim=1)
        step.keep(
            alpha=torch.where(is_there, own, self.alpha)[None],
            weight=perplexity_weights(of_target.detach(), self.alpha).mean(dim=1)[None],
        )
        return {"domain": domain_bces(of_source, of_target, shares).sum() / is_there.sum()}

    def _confuse(self, step: Step) -> dict[str, Tensor]:
        shares = self.shares(step.source)
        of_source, of_target = (self.discriminators(rows.features) for rows in (step.source, step.target))
        is_there = shares.sum(dim=1) > 0
        # The worst that the discriminator's loss can be with the answers exchanged is the source that is told best.
        told = (shares * F.softplus(-of_source)).sum(dim=1) + F.softplus(of_target).mean(dim=1)
        best = told.detach().masked_fill(~is_there, -torch.inf).argmax()
        confusion = ((shares * uniform_bce(of_source)).sum(dim=1) + uniform_bce(of_target).mean(dim=1)) / 2
        scale = self.config.weight * (ganin_ramp(step.progress) if self.config.ramp else 1.0)
        return {"confusion": scale * confusion[best]}
