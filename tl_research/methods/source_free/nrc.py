"""NRC: agreement with neighbours, those that are mutual more than others."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.config import at_least, share
from tl_research.losses.source_free import agreement, entropy_of_mean, neighbour_places
from tl_research.methods.base import Step
from tl_research.methods.finished_run import RemembersTarget, SourceFreeConfig
from tl_research.registry import register_method


@dataclass
class NRCConfig(SourceFreeConfig):
    """Options of `nrc`: how many neighbours, how many of theirs, and what one that is not mutual counts."""

    name: str = "nrc"
    neighbours: int = at_least(1, default=3)
    further: int = at_least(1, default=2)  # neighbours of each neighbour
    one_sided: float = share(default=0.1)  # weight of a neighbour that has not this row among its own
    variety: float = at_least(0, default=1.0)


@register_method(
    "nrc",
    config=NRCConfig,
    family="source_free",
    settings=("source_free",),
    paper="Yang et al. 2021, NeurIPS, equations 3 to 9",
    no_null="on equal domains rows still agree with their neighbours",
    no_gain="held against source_only on two moons (tests/methods/test_source_free.py)",
    targets=("class",),
)
class NRC(RemembersTarget):
    """Rows agree with their nearest rows: the sum of four terms over target rows.

        neighbours  -(1/n) Σ_i Σ_{k in N_i} a_ik <s_k, p_i>       a_ik = 1 where i is among N_k, else `one_sided`
        further     -(1/n) Σ_i Σ_{k in N_i} Σ_{m in E_k} `one_sided` <s_m, p_i>
        itself      -(1/n) Σ_i <s_i, p_i>
        variety     -`variety` * H(mean_i p_i)

    s are probabilities in the memory, N_i the `neighbours` nearest rows by the cosine of the memory's features, E_k the
    `further` nearest of row k. `train/mutual` in the history is the share of neighbours that are mutual. A step
    compares its rows, and their neighbours, with all target rows.

    Rows and their neighbours are compared with all target rows: five times a step of `source_only` (docs/step_cost.md).
    """

    def terms(self, step: Step) -> dict[str, Tensor]:
        self.remember(step)
        rows, memory, config = step.target, self.memory, self.config
        probability = rows.logits.softmax(dim=1)
        near = neighbour_places(rows.features.detach(), rows.index, memory.features, neighbours=config.neighbours)
        most = max(config.neighbours, config.further)
        flat = near.flatten()
        theirs = neighbour_places(memory.features[flat], flat, memory.features, neighbours=most)
        theirs = theirs.view(*near.shape, -1)
        mutual = (theirs[..., : config.neighbours] == rows.index[:, None, None]).any(dim=2)
        step.report(mutual=mutual.float().mean())
        weight = torch.where(mutual, 1.0, config.one_sided).to(probability.dtype)
        further = theirs[..., : config.further].flatten(1)
        constant = torch.full(further.shape, config.one_sided, dtype=probability.dtype, device=probability.device)
        return {
            "neighbours": agreement(probability, memory.probability[near], weight),
            "further": agreement(probability, memory.probability[further], constant),
            "itself": agreement(probability, probability.detach()[:, None], torch.ones_like(weight[:, :1])),
            "variety": -config.variety * entropy_of_mean(rows.logits),
        }
