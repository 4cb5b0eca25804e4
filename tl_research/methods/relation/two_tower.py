"""Two towers: a vector per user, and a network of an item's attributes, which new items have too."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tl_research.config import MethodConfig, above, check
from tl_research.interactions.training import Training
from tl_research.methods.described import Described
from tl_research.methods.fitted import whole_precision
from tl_research.methods.recommending import Tables
from tl_research.methods.step import Encoded
from tl_research.nn.fitted import Fitted
from tl_research.nn.mlp import mlp_layers
from tl_research.parallel.ranks import gather_rows, rank, row_counts
from tl_research.registry import register_method


@dataclass
class TwoTowerConfig(MethodConfig):
    """Group `method` of `two_tower`."""

    name: str = "two_tower"
    hidden: list[int] = field(default_factory=lambda: [64])  # widths of the layers of the items' network; []: linear
    temperature: float = above(0, default=0.2)  # divides the cosine
    use_sources: bool = True  # whether the interactions of the source domains train too

    def __post_init__(self) -> None:
        check(all(width >= 1 for width in self.hidden), "method.hidden", list(self.hidden), "widths of 1 or more")


class Shares(Fitted):
    """Buffer `log_q` (2, items): log share of each item among the sources' rows, and among the target's."""

    log_q: Tensor

    def learn(self, training: Training) -> None:
        """Count the rows of both sides."""
        sides = [[log.item for log in training.sources], [training.target.item]]
        found = np.zeros((2, training.target.items), dtype=np.float32)
        for place, items in enumerate(sides):
            count = np.bincount(np.concatenate(items), minlength=found.shape[1]) if items else np.zeros(found.shape[1])
            found[place] = np.log(np.maximum(count, 1) / max(1, count.sum()))
        self.keep(log_q=torch.from_numpy(found))


@register_method(
    "two_tower",
    config=TwoTowerConfig,
    family="relation",
    settings=("supervised",),
    targets=("preference",),
    encoder="user_embedding",
    paper="Yi et al. 2019, RecSys, equations 2 to 5",
    no_gain="held against itself on the new shop alone, on planted attributes (tests/recommenders/test_content.py)",
    problem=("data.attribute_noise=0.5",),
)
class TwoTower(Described):
    """s_ui = cos(p + p_u, g(a_i)) / temperature, g a network of item i's attributes a_i, p one vector for all users.

    L = mean over rows (u, i) of -log softmax, at i, of s_uj - log q_j over the items j of the batch's rows. q_j is the
    share of j among the rows that batches are drawn from: what is bought often is met often as another row's item.
    Other rows of item i are left out of the sum. Sources and target have a loss each; items of one are no negatives of
    the other. The batch is that of all processes.

    The paper estimates q_j from the stream of batches; here it is counted. Its user tower has features, ours is a
    vector per user and one of all.
    """

    def make_parts(self, columns: int) -> None:
        self.shares = Shares()
        hidden = list(self.config.hidden)
        layers, width = mlp_layers(columns, hidden, activation="relu", dropout=0.0, batch_norm=False)
        self.everyone = nn.Parameter(torch.zeros(self.encoder.out_features))
        self.tower = nn.Sequential(layers, nn.Linear(width, self.encoder.out_features))

    def learn(self, training: Training) -> None:
        self.shares.learn(training)
        self.shares.to(self.device)

    def own_tables(self) -> Tables:
        return Tables(self.everyone + self.encoder.users.weight, self.tower(self.content))

    def tables(self) -> Tables:
        users, items = self.own_tables()
        return Tables(F.normalize(users, dim=1) / self.config.temperature, F.normalize(items, dim=1))

    def row_losses(self, rows: Encoded) -> Tensor:
        """Return the softmax loss (n,) of interactions, each against the items of all processes' rows."""
        user, own = rows.extra["user"], rows.extra["item"]
        (counts,) = row_counts(own)
        items, domain = gather_rows(own, counts), gather_rows(rows.domain, counts)
        log_q = self.shares.log_q[(domain == self.purchases.target).long(), items]
        users, others = whole_precision(self._tables.users[user]), whole_precision(self._tables.items[items])
        place = sum(counts[: rank()]) + torch.arange(len(own), device=own.device)
        again = own[:, None] == items
        again[torch.arange(len(own)), place] = False
        scores = (users @ others.T - log_q).masked_fill(again, float("-inf"))
        return F.cross_entropy(scores, place, reduction="none")
