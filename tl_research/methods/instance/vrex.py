"""Variance of risks over source domains."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.config import MethodConfig, at_least, share
from tl_research.data.batch import Samples
from tl_research.methods.base import AdaptationModule, Step
from tl_research.nn.fitted import Fitted
from tl_research.parallel import ranks
from tl_research.registry import register_method


@dataclass
class VRExConfig(MethodConfig):
    """Options of `vrex`: the weight of the variance, and when it begins."""

    name: str = "vrex"
    weight: float = at_least(0, default=10.0)  # beta
    warm_up: float = share(default=0.1)  # of the training, with the mean of the domains' risks alone


@register_method(
    "vrex",
    config=VRExConfig,
    family="instance",
    settings=("unsupervised", "few_shot"),
    paper="Krueger et al. 2021, ICML, section 3 (V-REx)",
    no_gain="a reference row of domain generalisation; its gain was not measured",
)
class VREx(AdaptationModule):
    """Equal risks in all source domains, in the hope that the target's is the same.

    min of mean_e R_e + weight * mean_e (R_e - R)², R_e the mean loss of a batch's rows of domain e, R their mean. Its
    gradient is that of row losses with weights (1 + 2 weight (R_e - R)) / (E n_e), which is what is carried out:
    `train/source_task` is that weighted sum. Rows of a domain of small risk may weigh less than nothing. Of an
    accumulated gradient each batch has risks of its own. With one source domain it is `source_only`.
    """

    reads = frozenset(("source",))

    def build(self) -> None:
        self.sources = Fitted()  # rows (domains,) of each source domain

    def prepare(self, source: Samples, target: Samples, target_labeled: Samples | None) -> None:
        super().prepare(source, target, target_labeled)
        rows = torch.bincount(source.domain)
        self.sources.keep(rows=rows)
        if int((rows > 0).sum()) < 2:
            self.facts["warning"] = "vrex: one source domain only, so that it is plain training on the source"

    def source_weights(self, step: Step) -> Tensor:
        source, row = step.local("source"), super().source_weights(step)
        loss = self.row_losses(source).detach()
        row = torch.ones_like(loss) if row is None else row
        sums = torch.stack([row * loss, row]).double()
        sums = ranks.sum_across_ranks(sums.new_zeros(2, len(self.sources.rows)).index_add_(1, source.domain, sums))
        is_there = sums[1] > 0
        risk = sums[0] / sums[1].clamp_min(torch.finfo(sums.dtype).tiny)
        count = is_there.sum()
        beta = self.config.weight if self.progress >= self.config.warm_up else 0.0
        of_domain = is_there * (1 + 2 * beta * (risk - risk.sum() / count)) / (count * sums[1].clamp_min(1))
        # The mean over the rank's rows, averaged over ranks, is then the sum over domains.
        return (row * of_domain[source.domain] * len(row) * ranks.world_size()).to(loss.dtype)
