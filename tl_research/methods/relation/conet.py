"""Two towers over a user and an item, of the sources and of the target, that read each other's hidden layers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from tl_research.config import all_at_least
from tl_research.data.batch import Samples
from tl_research.methods.recommending import RankingConfig, Recommending
from tl_research.methods.step import Encoded
from tl_research.registry import register_method

#: Hidden numbers that are held at once when the catalogue is scored.
BLOCK = 16_000_000


@dataclass
class CoNetConfig(RankingConfig):
    """Group `method` of `conet`."""

    name: str = "conet"
    hidden: list[int] = all_at_least(1, default=[64, 32])  # widths of the layers of a tower


class CrossTowers(nn.Module):
    """Two towers; h_a ← relu(W_a h_a + b_a + H h_b) in both, with one H per layer, from the second layer on.

    Args:
        width: of a user's and of an item's vector.
        hidden: widths of the layers.
    """

    def __init__(self, width: int, hidden: list[int]):
        super().__init__()
        self.of_user = nn.ModuleList(nn.Linear(width, hidden[0]) for _ in range(2))
        self.of_item = nn.ModuleList(nn.Linear(width, hidden[0], bias=False) for _ in range(2))
        steps = list(pairwise(hidden))
        self.own = nn.ModuleList(nn.ModuleList(nn.Linear(*step) for step in steps) for _ in range(2))
        self.cross = nn.ModuleList(nn.Linear(*step, bias=False) for step in steps)
        self.out = nn.Parameter(torch.randn(2, hidden[-1]) / hidden[-1] ** 0.5)

    def forward(self, users: Tensor, items: Tensor) -> list[Tensor]:
        """Return of the sources' and of the target's tower what its score is the sum of: (..., hidden[-1]) each.

        Args:
            users, items: vectors (..., width); they are broadcast against each other.
        """
        layers = [torch.relu(user(users) + item(items)) for user, item in zip(self.of_user, self.of_item, strict=True)]
        for place, cross in enumerate(self.cross):
            own = [tower[place](layer) for tower, layer in zip(self.own, layers, strict=True)]
            layers = [torch.relu(own[0] + cross(layers[1])), torch.relu(own[1] + cross(layers[0]))]
        return [layer * weight for layer, weight in zip(layers, self.out, strict=True)]


@register_method(
    "conet",
    config=CoNetConfig,
    family="relation",
    settings=("supervised",),
    targets=("preference",),
    encoder="embedding",
    paper="Hu et al. 2018, CIKM, section 3.2; its loss of pairs is Rendle et al. 2009",
    no_gain="no gain over bpr_mf beyond the noise of seeds on planted shops (docs/recommend.md)",
)
class CoNet(Recommending):
    """s_ui = a · h_L, h_0 = (p_u, q_i), h_l = relu(W_l h_(l-1) + b_l + H_l h'_(l-1)), h' the other domain's tower.

    Both towers read the same user and item, in training and in prediction. The paper pairs an item of each domain in
    training, and leaves open which pair a prediction reads. No gain of the crossing has been shown on planted shops,
    not with few purchases, several drawn items per purchase and long training either (docs/recommend.md).
    """

    def build(self) -> None:
        self.towers = CrossTowers(self.encoder.out_features, list(self.config.hidden))

    def pair(self, rows: Samples | Encoded, item: Tensor) -> Tensor:
        users, items = self.rows_of(self._tables.users, rows.extra["user"]), self.rows_of(self._tables.items, item)
        is_target = (rows.domain == self.purchases.target)[:, None]
        if item.ndim > 1:
            users, is_target = users[:, None], is_target[:, None]
        of_sources, of_target = self.towers(users, items)
        return torch.where(is_target, of_target, of_sources)

    def score_catalogue(self, users: Tensor, domain: int | None = None) -> Tensor:
        table, items = self.tables().users, self.tables().items[self.purchases.shelf(domain).catalogue]
        tower = int(domain is None)
        rows = max(1, BLOCK // (len(items) * max(self.config.hidden)))
        return torch.cat([self.towers(table[part][:, None], items)[tower].sum(2) for part in users.split(rows)])
