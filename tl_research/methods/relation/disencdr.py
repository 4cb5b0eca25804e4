"""Users as distributions: a part that both domains share, and a part of each domain's own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tl_research.config import at_least
from tl_research.interactions.training import Training
from tl_research.losses.gaussian import normal_kl
from tl_research.methods.overlap import Overlap
from tl_research.methods.per_domain import PerDomain, stacked
from tl_research.methods.recommending import RankingConfig, Tables
from tl_research.methods.relation.lightgcn import normalised, propagated
from tl_research.methods.step import Step
from tl_research.nn.counter_random import counted
from tl_research.nn.sparse import SparseMatrix
from tl_research.registry import register_method


@dataclass
class DisenCDRConfig(RankingConfig):
    """Group `method` of `disencdr`."""

    name: str = "disencdr"
    layers: int = at_least(0, default=1)
    exclusive: float = at_least(0, default=1e-3)  # weight of what keeps the shared part and the own parts apart
    informative: float = at_least(0, default=1e-3)  # weight of what lets either domain alone tell the shared part


class Normal(NamedTuple):
    """A normal distribution per row: `mean` and `log_std` (n, d)."""

    mean: Tensor
    log_std: Tensor

    def drawn(self, random: torch.Generator | None) -> Tensor:
        """Return a draw (n, d); the mean without a generator."""
        if random is None:
            return self.mean
        # Of a generator on the CPU, so that every device draws the same.
        noise = torch.randn(self.mean.shape, generator=random).to(self.mean.device)
        return self.mean + noise * self.log_std.exp()

    def kl(self, other: Normal | None = None) -> Tensor:
        """Return the divergence (n,) from another distribution, or from N(0, 1)."""
        if other is None:
            zero = self.mean.new_zeros(())
            return normal_kl(*self, zero, zero)
        return normal_kl(*self, *other)


class Spread(nn.Linear):
    """ln σ of vectors (n, width): an affine map, which gives a standard deviation of `first` at the start."""

    def __init__(self, width: int, first: float):
        super().__init__(width, width)
        nn.init.normal_(self.weight, std=0.01)
        nn.init.constant_(self.bias, math.log(first))


class Beliefs(NamedTuple):
    """What is believed of all users and items.

    Fields:
        shared: of users, from both domains.
        users, items: of a domain's own, sources first.
        told: of users' shared part, from one domain alone, sources first.
    """

    shared: Normal
    users: tuple[Normal, Normal]
    items: tuple[Normal, Normal]
    told: tuple[Normal, Normal]


@register_method(
    "disencdr",
    config=DisenCDRConfig,
    family="relation",
    settings=("supervised",),
    targets=("preference",),
    encoder="embedding",
    paper="Cao et al. 2022, SIGIR, its variational graph encoders, exclusive and informative regularisers",
    no_gain="held against bpr_mf on planted shops (tests/methods/test_dual_recommenders.py)",
)
class DisenCDR(PerDomain):
    """s_ui = (z_u + z_u,D) · z_i,D in domain D, with z normal; in prediction they are the means.

    z_u,D and z_i,D have the means of a LightGCN of D. The shared z_u has the mean λ_u g_T(a_u) + (1 - λ_u) g_S(b_u):
    g_D averages over the graph of D, from users to users, over the layers 0 to K; a and b are vectors of users, and λ_u
    is the share of u's purchases that is in the target. ln σ is an affine map of the mean. The loss adds

    `exclusive` × mean over users of KL(z_u || N(0, 1)) + Σ_D KL(z_u,D || N(0, 1)), and
    `informative` × mean over users of both domains of Σ_D KL(z_u || r_D(u)),

    where r_D(u) is normal, and affine in u's own vector in D. A user without purchases in D has z_u,D = 0 there.

    Simplified: the paper's encoders have weights, a leaky ReLU and dropout in each layer. Its λ is one number for all
    users. It has items in the KL too, which `penalty` holds here. Its loss is cross-entropy, here that of pairs. With
    both weights 0, no noise and shared vectors of 0 it is two LightGCNs.
    """

    def build(self) -> None:
        super().build()
        known, width, spread = self.encoder.spec.interactions, self.encoder.out_features, self.encoder.config.spread
        self.shared = nn.Parameter(spread * torch.randn(2, known.users, width))
        self.spreads = nn.ModuleDict(
            {name: Spread(width, spread) for name in ("shared", "users_s", "users_t", "items_s", "items_t")}
        )
        self.tells = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.tells_spread = nn.ModuleList(Spread(width, spread) for _ in range(2))
        self.graphs = nn.ModuleList(SparseMatrix() for _ in range(2))
        self.overlap = Overlap()
        self._beliefs: Beliefs | None = None

    def learn(self, training: Training) -> None:
        for graph, log in zip(self.graphs, (training.other, training.own), strict=True):
            graph.learn(normalised(log))
            graph.to(self.device)
        self.overlap.learn(training)
        self.overlap.to(self.device)

    def own_tables(self) -> Tables:
        """The shared vectors stand beside a user's own ones: the penalty is on both."""
        users, items = super().own_tables()
        return Tables(torch.cat([users, self.shared.flatten(0, 1)], dim=1), items)

    def beliefs(self) -> Beliefs:
        """Return the distributions of all users and items."""
        counts = self.overlap.sources, self.overlap.target
        users, items, told, merged = [], [], [], []
        for side, (tables, graph) in enumerate(zip(self.both(), self.graphs, strict=True)):
            letter = "st"[side]
            own = propagated(graph, *tables, layers=self.config.layers)
            own = own._replace(users=own.users * (counts[side] > 0))
            users.append(Normal(own.users, self.spreads[f"users_{letter}"](own.users)))
            items.append(Normal(own.items, self.spreads[f"items_{letter}"](own.items)))
            told.append(Normal(self.tells[side](own.users), self.tells_spread[side](own.users)))
            merged.append(_among_users(graph, self.shared[side], self.config.layers))
        mean = torch.lerp(*merged, self.overlap.target_share)
        return Beliefs(Normal(mean, self.spreads["shared"](mean)), tuple(users), tuple(items), tuple(told))

    def tables(self) -> Tables:
        self._beliefs = self.beliefs()
        shared, users, items, _ = self._beliefs
        random = self._random() if self.training else None
        both = shared.drawn(random)
        counts = self.overlap.sources, self.overlap.target
        # Of a user whom a domain does not know there is no own part, not even noise.
        own = [side.drawn(random) * (count > 0) for side, count in zip(users, counts, strict=True)]
        sides = (Tables(both + user, item.drawn(random)) for user, item in zip(own, items, strict=True))
        return stacked(*sides)

    def terms(self, step: Step) -> dict[str, Tensor]:
        if self._beliefs is None:
            self._beliefs = self.beliefs()
        (shared, users, _, told), self._beliefs = self._beliefs, None
        found, known = {}, self.overlap.sources + self.overlap.target > 0
        if self.config.exclusive:
            away = _mean(shared.kl(), known[:, 0])
            for own, count in zip(users, (self.overlap.sources, self.overlap.target), strict=True):
                away = away + _mean(own.kl(), count[:, 0] > 0)
            found["exclusive"] = self.config.exclusive * away
        if self.config.informative:
            gaps = sum(shared.kl(each) for each in told)
            found["informative"] = self.config.informative * _mean(gaps, self.overlap.in_both)
        return found

    def _random(self) -> torch.Generator:
        """Return the noise of a step, a pure function of seed and step."""
        number = counted(self.seed, torch.tensor(self.steps_done))
        return torch.Generator().manual_seed(int(number))


def _among_users(graph: SparseMatrix, users: Tensor, layers: int) -> Tensor:
    """Return the mean of (A Aᵀ)^k x over k = 0 to `layers`."""
    total = users
    for _ in range(layers):
        users = graph(graph.transposed(users))
        total = total + users
    return total / (layers + 1)


def _mean(values: Tensor, counts: Tensor) -> Tensor:
    """Return the mean of (n,) values where `counts` (n,); 0 where it is nowhere."""
    return torch.where(counts, values, 0).sum() / counts.sum().clamp_min(1)
