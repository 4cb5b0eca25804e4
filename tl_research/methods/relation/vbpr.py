"""Pairwise ranking by vectors of users and items, and by what the items' attributes say."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tl_research.config import at_least
from tl_research.interactions.training import Training
from tl_research.methods.described import Described
from tl_research.methods.recommending import RecommendingConfig, Tables
from tl_research.nn.fitted import Fitted
from tl_research.registry import register_method


@dataclass
class VBPRConfig(RecommendingConfig):
    """Group `method` of `vbpr`."""

    name: str = "vbpr"
    content_width: int = at_least(1, default=16)  # numbers that an item's attributes become


class Sold(Fitted):
    """Buffer `sold` (items, 1): 1 for items with a training row, else 0."""

    sold: Tensor

    def learn(self, training: Training, *, use_sources: bool) -> None:
        """See which items train."""
        sold = torch.zeros(training.target.items, 1)
        for log in (*(training.sources if use_sources else ()), training.target):
            sold[torch.from_numpy(log.own_items())] = 1.0
        self.keep(sold=sold)


@register_method(
    "vbpr",
    config=VBPRConfig,
    family="relation",
    settings=("supervised",),
    targets=("preference",),
    encoder="embedding",
    paper="He & McAuley 2016, AAAI, equations 4 and 5",
    no_gain="held against itself on the target alone, on planted attributes (tests/recommenders/test_content.py)",
    problem=("data.attribute_noise=0.5",),
)
class VBPR(Described):
    """s_ui = b_i + p_u · q_i + t_u · E a_i + c · a_i, a_i the attributes of item i; p, q and t are vectors, E a matrix.

    Of an item without a training row the first two terms are left out. The penalty is on p, q, t, E a_i and b; that of
    the paper on E and c is `optimizer.weight_decay`.
    """

    def make_parts(self, columns: int) -> None:
        known, width = self.encoder.spec.interactions, self.config.content_width
        self.sold = Sold()
        self.tastes = nn.Embedding(known.users, width)
        nn.init.normal_(self.tastes.weight, std=0.1)
        self.project = nn.Linear(columns, width, bias=False)
        self.common = nn.Linear(columns, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(known.items, 1))

    def learn(self, training: Training) -> None:
        self.sold.learn(training, use_sources=self.config.use_sources)
        self.sold.to(self.device)

    def own_tables(self) -> Tables:
        sold = self.sold.sold
        users = torch.cat([self.encoder.users.weight, self.tastes.weight], dim=1)
        items = [sold * self.encoder.items.weight, self.project(self.content), sold * self.bias]
        # The bias is penalised, and has no factor of the user's.
        return Tables(users, torch.cat(items, dim=1))

    def tables(self) -> Tables:
        users, items = self.own_tables()
        one = torch.ones_like(users[:, :1])
        return Tables(torch.cat([users, one, one], dim=1), torch.cat([items, self.common(self.content)], dim=1))
