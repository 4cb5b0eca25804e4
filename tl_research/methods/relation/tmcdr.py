"""Transfer and meta: a bridge that a few users adapt so that it serves other users."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from tl_research.config import above, at_least
from tl_research.data.batch import Samples
from tl_research.methods.bridging import ENCODER, Mapped, MappedConfig
from tl_research.methods.step import Step
from tl_research.nn.counter_random import counted
from tl_research.registry import register_method

#: Last counters of the two streams of numbers that are drawn.
GROUPS, PURCHASES = 0, 1


@dataclass
class TMCDRConfig(MappedConfig):
    """Group `method` of `tmcdr`."""

    name: str = "tmcdr"
    bridge_batch: int = at_least(2, default=1024)  # users per step; about half of them adapt the bridge
    inner_lr: float = above(0, default=0.1)


@register_method(
    "tmcdr",
    config=TMCDRConfig,
    family="relation",
    settings=("supervised",),
    targets=("preference",),
    encoder=ENCODER,
    paper="Zhu et al. 2021, SIGIR, section 3, with pairs in the place of ratings",
    no_gain="held against popularity for cold users on planted tastes (tests/recommenders/test_bridges.py)",
)
class TMCDR(Mapped):
    """min_θ L_b(θ - λ ∇L_a(θ)), where users in both shops are parted anew into groups a and b in each step.

    L_g(θ) is the pairwise loss of one purchase of each user of group g with f_θ(s_u) in the place of t_u.
    """

    def terms(self, step: Step) -> dict[str, Tensor]:
        users = self.histories.draw(self.config.bridge_batch, seed=self.seed, step=self.steps_done)
        # By user, not by draw: nobody is on both sides.
        adapts = counted(self.seed, users, self.steps_done, GROUPS) % 2 == 0
        differences = self._differences(users)
        weights = dict(self.bridge.named_parameters())
        with torch.enable_grad():
            adapted = self._loss(weights, users, differences, adapts)
            gradients = torch.autograd.grad(adapted, list(weights.values()), create_graph=True)
        rate = self.config.inner_lr
        moved = {name: value - rate * step for (name, value), step in zip(weights.items(), gradients, strict=True)}
        return {"bridge": self._loss(moved, users, differences, ~adapts)}

    def _loss(self, weights: dict[str, Tensor], users: Tensor, differences: Tensor, group: Tensor) -> Tensor:
        """Mean over a group (n,) of the users of the pairwise loss under weights of the bridge."""
        vectors = functional_call(self.bridge, weights, (self.in_sources(users),))
        losses = F.softplus(torch.einsum("nd,nkd->nk", vectors, differences)).mean(1)
        return (losses * group).sum() / group.sum().clamp_min(1)

    def _differences(self, users: Tensor) -> Tensor:
        """Return v_j - v_i (n, negatives, d) of one purchase i of each user in the target and drawn items j."""
        first, count = self.purchases.seen_start[users], self.histories.in_target[users]
        place = torch.arange(len(users), device=users.device)
        item = self.purchases.seen_item[first + counted(self.seed, place, self.steps_done, PURCHASES) % count]
        domain = self.histories.domains.expand(len(users))
        extra = {"user": users, "item": item}
        drawn = self.draw(Samples(extra, torch.ones_like(users), place, domain, extra))
        items = self.encoder.items.weight
        return items[drawn] - items[item][:, None]
