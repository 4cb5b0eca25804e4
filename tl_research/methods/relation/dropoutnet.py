"""Dropping user vectors while a network learns to do without them: what is left is what the old shop says."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.config import at_least, share
from tl_research.methods.bridging import ENCODER, Bridging, BridgingConfig
from tl_research.methods.step import Phase, Step
from tl_research.nn.bridge import tanh_layers
from tl_research.nn.counter_random import counted
from tl_research.registry import register_method

#: Numbers that `counted` gives lie below it.
LIMIT = 2**62


@dataclass
class DropoutNetConfig(BridgingConfig):
    """Group `method` of `dropoutnet`."""

    name: str = "dropoutnet"
    dropped: float = share(default=0.5)  # of the rows, whose user vector is 0 in a step
    hidden: int = at_least(1, default=128)
    history: int = at_least(1, default=50)  # latest purchases that are content


@register_method(
    "dropoutnet",
    config=DropoutNetConfig,
    family="relation",
    settings=("supervised",),
    targets=("preference",),
    encoder=ENCODER,
    paper="Volkovs, Yu & Poutanen 2017, NeurIPS, section 4",
    no_gain="held against popularity for cold users on planted tastes (tests/recommenders/test_bridges.py)",
)
class DropoutNet(Bridging):
    """min_f mean over interactions (u, i), and drawn j, of (t_u · v - f(m t_u, c_u) · v)² for v = v_i and v_j.

    m is 0 for a share of the rows, drawn anew in each step, and else 1; the content c_u is the mean vector of u's items
    in the old shop. The bridged vector is f(0, c_u); f(t_u, c_u) stands for the own vector of a user with purchases.
    The paper also drops item vectors; items have no content here, so that theirs stay.
    """

    def make_bridge(self, width: int) -> None:
        self.network = tanh_layers(2 * width, self.config.hidden, width)

    def bridged(self, users: Tensor) -> Tensor:
        content = self._content(users)
        return self.network(torch.cat([torch.zeros_like(content), content], dim=1))

    def own(self, users: Tensor) -> Tensor:
        return self._combined(users, torch.ones_like(users, dtype=torch.bool))

    def terms(self, step: Step) -> dict[str, Tensor]:
        rows = step.batch.target_labeled
        user, number = rows.extra["user"], counted(self.seed, rows.index, self.steps_done)
        kept = number >= int(self.config.dropped * LIMIT)
        items = self.encoder.items.weight[torch.cat([rows.extra["item"][:, None], self.draw(rows)], dim=1)]
        error = self._combined(user, kept) - self.in_target(user)
        return {"bridge": torch.einsum("nd,nkd->nk", error, items).square().mean()}

    def averaged_over(self, term: str, phase: Phase) -> str | None:
        return "target_labeled" if term == "bridge" else super().averaged_over(term, phase)

    def _combined(self, users: Tensor, kept: Tensor) -> Tensor:
        """Return f(m t_u, c_u) (n, d), m being 1 where `kept` (n,)."""
        own = torch.where(kept[:, None], self.in_target(users), 0)
        return self.network(torch.cat([own, self._content(users)], dim=1))

    def _content(self, users: Tensor) -> Tensor:
        items, is_item = self.histories.latest(users, self.config.history)
        vectors = self.encoder.items.weight[items] * is_item[:, :, None]
        return vectors.sum(1) / is_item.sum(1, keepdim=True).clamp_min(1)
