"""Vectors of users per domain, pooled for users of both, so that either domain serves the other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tl_research.config import one_of
from tl_research.interactions.training import Training
from tl_research.methods.overlap import Overlap
from tl_research.methods.per_domain import PerDomain, stacked
from tl_research.methods.recommending import RankingConfig, Tables
from tl_research.registry import register_method

POOLINGS = ("attention", "average", "max")


@dataclass
class DTCDRConfig(RankingConfig):
    """Group `method` of `dtcdr`."""

    name: str = "dtcdr"
    pooling: str = one_of(POOLINGS, default="attention")  # of the two vectors of a user of both domains


@register_method(
    "dtcdr",
    config=DTCDRConfig,
    family="relation",
    settings=("supervised",),
    targets=("preference",),
    encoder="embedding",
    paper="Zhu et al. 2019, CIKM, its combination of embeddings; attention by elements: Zhu et al. 2020, IJCAI",
    no_gain="held against bpr_mf on planted shops (tests/methods/test_dual_recommenders.py)",
)
class DTCDR(PerDomain):
    """s_ui = c_u · q_i in each domain, c_u pooled from u's own vector p_u there and the other domain's vector p'_u.

    For a user of both domains, number by number: `average` (p + p') / 2, `max` max(p, p'), `attention`
    w p + (1 - w) p' with w = sigmoid(a), one a per domain and number, which starts from the average. A user whom one
    domain alone knows has that domain's vector in both. With nobody shared it is two factorisations.

    Left out of the paper: vectors of reviews and profiles (there are none here), concatenation, and the perceptrons
    behind the vectors, for which the product of vectors stands; its loss is that of pairs. GA-DTCDR has an a per user
    too.
    """

    def build(self) -> None:
        super().build()
        self.overlap = Overlap()
        if self.config.pooling == "attention":
            self.attention = nn.Parameter(torch.zeros(2, self.encoder.out_features))

    def learn(self, training: Training) -> None:
        self.overlap.learn(training)
        self.overlap.to(self.device)

    def tables(self) -> Tables:
        source, target = self.both()
        in_source, in_target = self.overlap.sources > 0, self.overlap.target > 0
        users = [
            torch.where(own_knows, torch.where(other_knows, self._pooled(own, other, domain), own), other)
            for domain, own, other, own_knows, other_knows in (
                (0, source.users, target.users, in_source, in_target),
                (1, target.users, source.users, in_target, in_source),
            )
        ]
        return stacked(Tables(users[0], source.items), Tables(users[1], target.items))

    def _pooled(self, own: Tensor, other: Tensor, domain: int) -> Tensor:
        """Return c (U, d) of users of both domains; `domain` is 0 for the sources and 1 for the target."""
        if self.config.pooling == "average":
            return (own + other) / 2
        if self.config.pooling == "max":
            return torch.maximum(own, other)
        return torch.lerp(other, own, self.attention[domain].sigmoid())
