"""Multiple feature spaces adaptation network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.config import MethodConfig, all_at_least, at_least
from tl_research.kernels import bandwidth_ladder, mmd2
from tl_research.losses.adversarial import ganin_ramp
from tl_research.losses.several_sources import heads_discrepancy
from tl_research.methods.source_parts import SourceHeadsMethod
from tl_research.methods.step import Step
from tl_research.registry import register_method

#: Rows that the unbiased MMD² wants of a side.
FEWEST = 2


@dataclass
class MFSANConfig(MethodConfig):
    """Options of `mfsan`: the weights of MMD² and of the heads' discrepancy, the kernels, and the extractors."""

    name: str = "mfsan"
    weight: float = at_least(0, default=5.0)  # of MMD², at the end of the ramp
    discrepancy_weight: float = at_least(0, default=1.0)  # of the heads' discrepancy, at the end of the ramp
    ramp: bool = True  # both grow with progress as 2 / (1 + exp(-10 p)) - 1; otherwise they are constant
    # Number of Gaussian kernels, a ladder of ratio 2 around the mean squared distance.
    bandwidths: int = at_least(1, default=5)
    hidden_of_source: list[int] = all_at_least(1, default=[256])  # widths of each source's extractor


@register_method(
    "mfsan",
    config=MFSANConfig,
    family="several_sources",
    settings=("unsupervised", "few_shot"),
    targets=("class",),
    paper="Zhu et al. 2019, AAAI, eq. 2 to 6",
    no_null="the discrepancy of the heads compares predictions of target rows, not domains",
    no_gain="held against source_only on planted_sources (tests/methods/test_several_sources.py)",
    problem=("data.sources=[old_market,third_market]",),
)
class MFSAN(SourceHeadsMethod):
    """Each source is aligned with the target in a feature space of its own, and the heads agree on target rows.

    mean_i CE_i(source i) + ramp(p) * [weight * mean_i MMD_u²(h_i(f_i), h_i(f_T)) / B + discrepancy_weight * L1], h_i
    the extractor of source i on the common features f (n, d), B kernels, L1 the mean absolute difference of the
    probabilities of all pairs of heads on target rows. The heads' mean probability predicts. The ramp and both
    weights are the paper's: its public code sums five kernels, which is 5 of this `weight`, takes one source per step
    instead of all, and has the biased MMD². The extractors are hidden layers here and convolutions in the paper.
    """

    def terms(self, step: Step) -> dict[str, Tensor]:
        source, target, config = step.source, step.target, self.config
        scale = ganin_ramp(step.progress) if config.ramp else 1.0
        of_source, _ = self.head(source.features, each=True)
        of_target, logits = self.head(target.features, each=True)
        gaps = [self._gap(x[source.domain == number], y) for number, (x, y) in enumerate(zip(of_source, of_target))]
        return {
            "mmd": scale * config.weight * torch.stack(gaps).mean() / config.bandwidths,
            "discrepancy": scale * config.discrepancy_weight * heads_discrepancy(logits),
        }

    def _gap(self, x: Tensor, y: Tensor) -> Tensor:
        if len(x) < FEWEST:
            return y.sum() * 0.0
        return mmd2(x, y, bandwidths=bandwidth_ladder(x, y, count=self.config.bandwidths))
