"""Moment matching for multi-source domain adaptation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from omegaconf import DictConfig
from torch import Tensor

from tl_research.config import MethodConfig, all_at_least, at_least
from tl_research.errors import ConfigError
from tl_research.losses.several_sources import moment_distance
from tl_research.methods.source_parts import SourceHeadsMethod
from tl_research.methods.step import Step
from tl_research.registry import register_method


@dataclass
class M3SDAConfig(MethodConfig):
    """Options of `m3sda`: the weight of the moments' distance, how many moments, and the heads' weights."""

    name: str = "m3sda"
    weight: float = at_least(0, default=0.5)  # lambda
    moments: int = at_least(1, default=2)
    # Of the heads in the prediction, in the order of data.sources, scaled to sum 1; []: equal ones.
    head_weights: list[float] = all_at_least(0, fewest=0, default=[])


@register_method(
    "m3sda",
    config=M3SDAConfig,
    family="several_sources",
    settings=("unsupervised", "few_shot"),
    targets=("class",),
    paper="Peng et al. 2019, ICCV, eq. 1 and 3 (M3SDA without beta)",
    null=0.0,
    null_rows=4096,  # a distance of means is biased upwards as 1/sqrt(rows)
    no_gain="held against source_only on planted_sources (tests/methods/test_several_sources.py)",
    problem=("data.sources=[old_market,third_market]",),
)
class M3SDA(SourceHeadsMethod):
    """Equal moments of the features (n, d) in all pairs of domains, with a head for each of S sources.

    mean_i CE_i(source i) + weight * Σ_k [mean_i ||E f_i^k - E f_T^k||_2 + mean_{i<j} ||E f_i^k - E f_j^k||_2], k = 1 ..
    `moments`, two in the paper. The heads' probabilities are averaged, by `head_weights` where they are given. The
    paper names no lambda; 0.5 is that of the port in Dassl. The paper weighs the heads by their accuracy on the target,
    whose labels nobody has here: a user who has them says so by `head_weights`. Left out is M3SDA-beta, which has two
    heads per source and plays the game of `mcd` with each pair.
    """

    @classmethod
    def check_config(cls, config: DictConfig) -> None:
        super().check_config(config)
        given, wanted = list(config.method.head_weights), len(config.data.sources)
        if given and (len(given) != wanted or not sum(given) > 0):
            raise ConfigError(
                f"method.head_weights: got {given}, wants {wanted} numbers, one for each of data.sources, not all 0"
            )

    def build(self) -> None:
        super().build()
        if self.config.head_weights:
            given = torch.tensor(self.config.head_weights, dtype=torch.float32)
            self.source_weight.copy_(given / given.sum())

    def terms(self, step: Step) -> dict[str, Tensor]:
        source, target = step.source, step.target
        value = moment_distance(source.features, self.shares(source), target.features, moments=self.config.moments)
        return {"moments": self.config.weight * value}
