"""Distributionally robust training over groups."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tl_research.config import MethodConfig, at_least, one_of
from tl_research.data.batch import Samples
from tl_research.methods.base import AdaptationModule, Step
from tl_research.nn.fitted import Fitted
from tl_research.parallel import ranks
from tl_research.registry import register_method

GROUPS = ("auto", "domain", "class", "domain_class")


@dataclass
class GroupDROConfig(MethodConfig):
    """Options of `group_dro`: what a group is, and how fast and by what the weights of the groups move."""

    name: str = "group_dro"
    # Domain, class or domain_class; auto: domain where there are several sources, else class.
    groups: str = one_of(GROUPS, default="auto")
    step: float = at_least(0, default=0.01)  # eta, of the exponentiated gradient on the groups' weights
    adjustment: float = at_least(0, default=0.0)  # C of C / sqrt(n_g), added to a group's loss in its weight's update


@register_method(
    "group_dro",
    config=GroupDROConfig,
    family="instance",
    settings=("unsupervised", "few_shot", "supervised"),
    paper="Sagawa et al. 2020, ICLR, algorithm 1 and section 3.3",
    gain=0.06,
    targets=("class",),
    # Purchases are rare in the source and common in the target: the worst group counts, not the largest.
    problem=(
        "data.sources=[new_market]",
        "data.target=old_market",
        "data.measurement_shift=0",
        "data.label_shift=-2.5",
    ),
)
class GroupDRO(AdaptationModule):
    """Group DRO: small loss on the worst group of source rows, whatever share of the target it will be.

    min over the model, max over q in the simplex of Σ_g q_g l_g, l_g the mean cross-entropy of group g. At each step

        q_g <- q_g exp(eta (l_g + C / sqrt(n_g))), scaled to Σ q = 1,   then a step on Σ_g q_g l_g

    over the groups of the batch (of all ranks), n_g a group's training rows; a group without a row in the batch has
    l_g = 0, as in the authors' code. Where a gradient is accumulated over several batches, q moves once, by the groups'
    means over all of them, and each batch is weighted by the q that its own means would give. Groups are the source
    domains, or the classes of a single source. With `method.weighting` the means are weighted ones, and a group whose
    rows all weigh nothing is no group.

    Part of what it gains comes from beginning at equal q, which alone (step=0) is balanced training; on the problem of
    the contract tests it is all of it.
    """

    reads = frozenset(("source",))

    def build(self) -> None:
        self.robust = Fitted()  # log_q (groups,) and the adjustment C / sqrt(n_g) of each group

    def prepare(self, source: Samples, target: Samples, target_labeled: Samples | None) -> None:
        super().prepare(source, target, target_labeled)
        domains = int(source.domain.max()) + 1
        by = self.config.groups if self.config.groups != "auto" else ("domain" if domains > 1 else "class")
        count = {"domain": domains, "class": self.classes, "domain_class": domains * self.classes}[by]
        # Both kinds of index in one: group = domain * of_domain + label * of_class.
        self.robust.keep(
            of_domain=torch.tensor({"domain": 1, "class": 0, "domain_class": self.classes}[by], device=self.device),
            of_class=torch.tensor(0 if by == "domain" else 1, device=self.device),
        )
        group = self.group(source.domain, source.label)
        if self.row_weights is not None:  # a row of weight 0 has no part in its group's mean
            group = group[self.row_weights.source > 0]
        rows = torch.bincount(group, minlength=count)
        if int((rows > 0).sum()) < 2:
            self.facts["warning"] = "group_dro: one group only, so that it is plain training on the source"
        adjustment = torch.where(rows > 0, self.config.adjustment / rows.clamp_min(1).float().sqrt(), 0.0)
        # A group without training rows has weight 0.
        q = (rows > 0).float() / (rows > 0).sum()
        self.robust.keep(log_q=q.log(), adjustment=adjustment)
        self.facts["groups"] = {"by": by, "rows": rows.tolist()}

    def group(self, domain: Tensor, label: Tensor) -> Tensor:
        """Number (n,) of each row's group."""
        return domain * self.robust.of_domain + label * self.robust.of_class

    def source_weights(self, step: Step) -> Tensor:
        source, row = step.local("source"), super().source_weights(step)
        row = torch.ones_like(source.logits[:, 0]) if row is None else row
        with torch.no_grad():
            group, q = self.group(source.domain, source.label), self.robust
            loss = F.cross_entropy(source.logits, source.label, reduction="none")
            sums = torch.stack([row * loss, row]).to(q.log_q.dtype)
            sums = ranks.sum_across_ranks(sums.new_zeros(2, len(q.log_q)).index_add_(1, group, sums))
            step.keep(sums=sums[None])
            # The mean over the rank's rows, averaged over ranks, is then Σ_g q_g l_g.
            rows = len(row) * ranks.world_size()
            log_q = self._moved(sums) if self.training else q.log_q
            return row * (log_q.exp() / _mass(sums))[group] * rows

    def after_step(self, step: Step) -> None:
        self.robust.keep(log_q=self._moved(step.kept("sums").sum(dim=0)))

    def _moved(self, sums: Tensor) -> Tensor:
        """log q (groups,) after a step on the groups' sums (2, groups): of weighted losses and of weights."""
        mean = sums[0] / _mass(sums)
        return (self.robust.log_q + self.config.step * (mean + self.robust.adjustment)).log_softmax(dim=0)


def _mass(sums: Tensor) -> Tensor:
    return sums[1].clamp_min(torch.finfo(sums.dtype).tiny)
