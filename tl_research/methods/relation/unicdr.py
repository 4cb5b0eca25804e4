"""Users as the sum of a shared vector and one of the domain, each of its own numbers and of what was bought."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tl_research.config import at_least, bounded, share
from tl_research.interactions.training import Training
from tl_research.methods.overlap import Overlap
from tl_research.methods.per_domain import PerDomain, stacked
from tl_research.methods.recommending import RankingConfig, Tables
from tl_research.methods.step import Phase, Step
from tl_research.nn.counter_random import counted
from tl_research.nn.sparse import SparseMatrix
from tl_research.registry import register_method

#: Numbers that `counted` gives lie below it.
LIMIT = 2**62
#: Last counters of the two streams of numbers that are drawn.
MASKS, OTHERS = 0, 1
SIDES = {"critic_source": "source", "critic_target": "target_labeled"}


@dataclass
class UniCDRConfig(RankingConfig):
    """Group `method` of `unicdr`."""

    name: str = "unicdr"
    keep: float = share(default=0.5)  # λ: of a user's own numbers in the vector; the rest is of what was bought
    masked: float = bounded(lambda value: 0 <= value < 1, "a share below 1", default=0.3)  # of the items, per step
    contrast: float = at_least(0, default=0.1)  # weight of the critic


class Users(NamedTuple):
    """Vectors (U, d) of all users: of a domain's own, sources first, and `shared`."""

    own: tuple[Tensor, Tensor]
    shared: Tensor


@register_method(
    "unicdr",
    config=UniCDRConfig,
    family="relation",
    settings=("supervised",),
    targets=("preference",),
    encoder="embedding",
    paper="Cao et al. 2023, WSDM, its mean aggregator and contrast of shared users",
    no_gain="held against bpr_mf on planted shops (tests/methods/test_dual_recommenders.py)",
)
class UniCDR(PerDomain):
    """s_ui = (e_u,D + e_u) · q_i in domain D, of a vector of the domain's own and one that both domains share.

    e_u,D = λ p_u,D + (1 - λ) W_D mean_j q_j over u's items j in D, e_u = λ g_u + (1 - λ) W mean_j q_j over u's items in
    both domains. In a step a share of the items is masked: the means are of the others. A user without purchases in D
    has e_u,D = 0 there. Per row of domain D the critic B_D adds

    `contrast` × (softplus(-e_u,D · B_D e_u) + softplus(e_v,D · B_D e_u)), v a drawn user of D.

    Simplified: the paper masks purchases of each user apart, and has aggregators by attention and by similarity of
    items, and settings with other overlaps; B_D has a bias there; its loss is cross-entropy, here that of pairs. With
    λ = 1 and no contrast a user is p_u,D + g_u: without g two factorisations, without p one with common users.
    """

    def build(self) -> None:
        super().build()
        width = self.encoder.out_features
        self.shared = nn.Parameter(
            self.encoder.config.spread * torch.randn(self.encoder.spec.interactions.users, width)
        )
        self.of_bought = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(3))  # of the domains, shared
        self.critics = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(2))
        self.bought = nn.ModuleList(SparseMatrix() for _ in range(2))
        self.overlap = Overlap()
        self._users: Users | None = None

    def learn(self, training: Training) -> None:
        for matrix, log in zip(self.bought, (training.other, training.own), strict=True):
            matrix.learn(log)
            matrix.to(self.device)
        self.overlap.learn(training)
        self.overlap.to(self.device)

    def own_tables(self) -> Tables:
        """The shared vector stands beside a user's own one: the penalty is on both."""
        users, items = super().own_tables()
        return Tables(torch.cat([users, self.shared.repeat(2, 1)], dim=1), items)

    def users(self) -> Users:
        """Return the vectors of all users; in training of what is not masked in the step."""
        sides, counts = self.both(), (self.overlap.sources, self.overlap.target)
        seen = self._seen(sides[0].items)
        sums = [matrix(side.items * seen) for matrix, side in zip(self.bought, sides, strict=True)]
        sizes = [matrix(seen) for matrix in self.bought]
        own = []
        for side, total, size, linear, count in zip(sides, sums, sizes, self.of_bought, counts):
            own.append(self._blend(side.users, total, size, linear) * (count > 0))
        shared = self._blend(self.shared, sums[0] + sums[1], sizes[0] + sizes[1], self.of_bought[2])
        return Users((own[0], own[1]), shared)

    def _blend(self, users: Tensor, total: Tensor, size: Tensor, linear: nn.Module) -> Tensor:
        keep = self.config.keep
        return keep * users + (1 - keep) * linear(total / size.clamp_min(1))

    def _seen(self, items: Tensor) -> Tensor:
        """Return 1 for an item that is not masked in this step, and else 0: (I, 1)."""
        if not self.training or not self.config.masked:
            return torch.ones_like(items[:, :1])
        number = counted(self.seed, torch.arange(len(items), device=items.device), self.steps_done, MASKS)
        return (number >= int(self.config.masked * LIMIT)).to(items.dtype)[:, None]

    def tables(self) -> Tables:
        self._users = self.users()
        own, shared = self._users
        return stacked(*(Tables(each + shared, side.items) for each, side in zip(own, self.both(), strict=True)))

    def terms(self, step: Step) -> dict[str, Tensor]:
        if not self.config.contrast:
            return {}
        if self._users is None:
            self._users = self.users()
        (own, shared), self._users = self._users, None
        found = {}
        counts = self.overlap.sources, self.overlap.target
        for (name, side), vectors, critic, count in zip(SIDES.items(), own, self.critics, counts, strict=True):
            rows = getattr(step.batch, side)
            users = rows.extra["user"]
            known = count[:, 0].nonzero()[:, 0]
            other = known[counted(self.seed, rows.index, rows.domain, self.steps_done, OTHERS) % len(known)]
            asked = critic(shared[users])
            near, far = ((vectors[each] * asked).sum(1) for each in (users, other))
            found[name] = self.config.contrast * (F.softplus(-near) + F.softplus(far)).mean()
        return found

    def averaged_over(self, term: str, phase: Phase) -> str | None:
        return SIDES.get(term) or super().averaged_over(term, phase)
