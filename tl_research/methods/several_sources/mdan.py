"""Multiple source domain adaptation with adversarial networks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.config import above, all_at_least, at_least
from tl_research.losses.several_sources import worst_case_weights
from tl_research.methods.reversal import ReversalConfig
from tl_research.methods.source_parts import SeveralSources, SourceDiscriminators, domain_bces
from tl_research.methods.step import Step
from tl_research.parallel import ranks
from tl_research.registry import register_method


@dataclass
class MDANConfig(ReversalConfig):
    """Options of `mdan`: the reversed gradient, the maximum over the sources, and the discriminators."""

    name: str = "mdan"
    weight: float = at_least(0, default=0.02)  # lambda: of the reversed gradient
    ramp: bool = False  # lambda grows with progress as 2 / (1 + exp(-10 p)) - 1; otherwise it is constant
    gamma: float = above(0, default=10.0)  # of the smooth maximum; the larger, the nearer to the hard one
    hard: bool = False  # the worst source alone counts
    hidden: list[int] = all_at_least(1, fewest=0, default=[])  # discriminator widths; [] is logistic regression


@register_method(
    "mdan",
    config=MDANConfig,
    family="several_sources",
    settings=("unsupervised", "few_shot"),
    paper="Zhao et al. 2018, NeurIPS, section 4 (hard and smooth)",
    null=math.log(2.0),
    no_gain="loses to source_only on planted_sources, where one source has wrong labels (docs/several_sources.md)",
    problem=("data.sources=[old_market,third_market]",),
)
class MDAN(SeveralSources):
    """Small loss and no discriminable features on the worst of S sources, each with a discriminator D_i (n, d) -> (n,).

    min over encoder and head of (1/gamma) ln Σ_i exp(gamma [CE_i - lambda * min over D_i of BCE_i]), or of the largest
    bracket where `hard`, in one pass: each D_i descends its own BCE, and CE_i and the reversed gradient count by the
    softmax of the brackets, held constant. A source of large loss, or one that is easily told from the target, counts
    MORE: the weights of the record are those of a worst case, no measure of how useful a source is. Defaults are those
    of the authors' code for Amazon reviews: mu = 0.01 there is 0.02 here, as BCE is half the sum of both domains'
    means. That code adds the domain loss within the exponent, where the paper subtracts it.
    """

    def build(self) -> None:
        super().build()
        self.discriminators = SourceDiscriminators(self.encoder.out_features, self.sources, self.config.hidden)

    def source_weights(self, step: Step) -> Tensor:
        local, (weight, mass) = step.local("source"), self._worst_case(step)
        step.keep(source_weight=weight[None])
        row = super().source_weights(step)
        row = torch.ones_like(local.features[:, 0]) if row is None else row
        of_domain = weight / mass.clamp_min(torch.finfo(mass.dtype).tiny)
        # The mean over the rank's rows, averaged over ranks, is then Σ_i w_i CE_i.
        return row * of_domain[local.domain] * len(row) * ranks.world_size()

    def terms(self, step: Step) -> dict[str, Tensor]:
        weight, _ = self._worst_case(step)
        count = (self.shares(step.source).sum(dim=1) > 0).sum()
        # The mean over the sources has 1 / count, which the reversed gradient is not to have.
        value = self._domain_losses(step, self.config.scale(step.progress) * weight * count)
        return {"domain": value.sum() / count}

    def after_step(self, step: Step) -> None:
        self.move_weights(step.kept("source_weight"))

    def _domain_losses(self, step: Step, scale: Tensor | None = None) -> Tensor:
        logits = (self.discriminators(rows.features, scale) for rows in (step.source, step.target))
        return domain_bces(*logits, self.shares(step.source))

    def _worst_case(self, step: Step) -> tuple[Tensor, Tensor]:
        """Weight (S,) of each source, and the sum (S,) of its rows' weights, over the rows of all ranks."""
        # Both sides are encoded here, where they have a gradient: the step remembers them.
        source, _ = step.source, step.target
        with torch.no_grad():
            row = torch.ones_like(source.features[:, 0])
            if self.row_weights is not None:
                row = self.row_weights.source[source.index].to(row.dtype)
            own = (self.shares(source) > 0).to(row.dtype)
            mass = own @ row
            risk = own @ (row * self.row_losses(source)) / mass.clamp_min(torch.finfo(mass.dtype).tiny)
            value = risk - self.config.scale(step.progress) * self._domain_losses(step)
        gamma = None if self.config.hard else self.config.gamma
        return worst_case_weights(value, mass > 0, gamma=gamma), mass
