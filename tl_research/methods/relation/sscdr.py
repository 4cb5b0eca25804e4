"""A bridge between metric spaces that learns from the old shop's items too, and reads a cold user's neighbourhood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor

from tl_research.config import above, at_least
from tl_research.data.batch import Samples
from tl_research.interactions.training import Training
from tl_research.methods.bridging import ENCODER, USERS_AT_ONCE, Mapped, MappedConfig
from tl_research.methods.recommending import Recommending
from tl_research.methods.step import Encoded, Step
from tl_research.nn.counter_random import counted
from tl_research.nn.sparse import SparseMatrix
from tl_research.registry import register_method

#: Last counters of the two streams of numbers that are drawn.
PURCHASES, DOMAINS = 0, 1


@dataclass
class SSCDRConfig(MappedConfig):
    """Group `method` of `sscdr`."""

    name: str = "sscdr"
    penalty: float = at_least(0, default=0.0)  # the unit ball holds the vectors
    margin: float = above(0, default=0.5)  # of squared distances
    bridge_batch: int = at_least(1, default=1024)  # users per step
    unlabelled: float = at_least(0, default=0.5)  # weight of the loss of the old shop's items
    hops: int = at_least(0, default=2)  # of the neighbourhood that a cold user is told by


@register_method(
    "sscdr",
    config=SSCDRConfig,
    family="relation",
    settings=("supervised",),
    targets=("preference",),
    encoder=ENCODER,
    paper="Kang et al. 2019, CIKM, with the metric learning of Hsieh et al. 2017, WWW (CML), equation 2",
    no_gain="held against popularity for cold users on planted tastes (tests/recommenders/test_bridges.py)",
)
class SSCDR(Mapped):
    """s_ui = -|u - v_i|², vectors in the unit ball, learnt by the hinge [m + |u - v_i|² - |u - v_j|²]_+ in each shop.

    The bridge f minimises, over users u of both shops, purchases i of u in the old one and drawn items k of it,

    |f(s_u) - t_u|² + λ [m + |t_u - f(v_i)|² - |t_u - f(v_k)|²]_+,

    the second term (λ is `unlabelled`) of items that the new shop does not have. A user is bridged by the mean over
    h = 0 to `hops` of z^h_u: z^0 = f(s_u) of a user and f(v_i) of an item, and z^h the mean of z^(h-1) over the
    neighbours in the old shop, of a user his items and of an item its buyers.

    Ours: vectors are put into the ball where they are read, |v| > 1 becoming v / |v|; all hops weigh the same; the rank
    weights and the covariance term of CML are left out.
    """

    def make_bridge(self, width: int) -> None:
        super().make_bridge(width)
        self.items_of, self.buyers_of = SparseMatrix(), SparseMatrix()
        self._inferred: Tensor | None = None

    def learn(self, training: Training) -> None:
        super().learn(training)
        self.items_of.learn(_means(training.other))
        self.buyers_of.learn(_means(training.other.T.tocsr()))
        for graph in (self.items_of, self.buyers_of):
            graph.to(self.device)

    # The metric space

    def in_sources(self, users: Tensor) -> Tensor:
        return in_ball(super().in_sources(users))

    def in_target(self, users: Tensor) -> Tensor:
        return in_ball(super().in_target(users))

    def pair(self, rows: Samples | Encoded, item: Tensor) -> Tensor:
        user, item = self.places(rows, item)
        users, items = (in_ball(self.rows_of(*pair)) for pair in zip(self._tables, (user, item), strict=True))
        return -((users if item.ndim == 1 else users[:, None]) - items).square()

    def pair_losses(self, excess: Tensor) -> Tensor:
        return F.relu(self.config.margin + excess)

    # The bridge

    def terms(self, step: Step) -> dict[str, Tensor]:
        users = self.histories.draw(self.config.bridge_batch, seed=self.seed, step=self.steps_done)
        wanted = self.in_target(users)
        found = {"bridge": (self.bridge(self.in_sources(users)) - wanted).square().sum(1).mean()}
        if self.config.unlabelled:
            bought, drawn = (self._mapped_items(items) for items in self._purchases(users))
            near = (wanted - bought).square().sum(1, keepdim=True)
            far = (wanted[:, None] - drawn).square().sum(2)
            found["unlabelled"] = self.config.unlabelled * self.pair_losses(near - far).mean()
        return found

    def _mapped_items(self, items: Tensor) -> Tensor:
        return self.bridge(in_ball(self.encoder.items.weight[items]))

    def _purchases(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Return a purchase (n,) of each user in a source, and drawn items (n, negatives) of a source."""
        place = torch.arange(len(users), device=users.device)
        first, count = self.histories.start[users], self.histories.start[users + 1] - self.histories.start[users]
        item = self.histories.item[first + counted(self.seed, place, self.steps_done, PURCHASES) % count]
        domain = counted(self.seed, place, self.steps_done, DOMAINS) % self.histories.domains
        extra = {"user": users, "item": item}
        return item, self.draw(Samples(extra, torch.ones_like(users), place, domain, extra))

    def bridged(self, users: Tensor) -> Tensor:
        if self._inferred is None:
            self._inferred = self._neighbourhoods()
        return self._inferred[users]

    def _neighbourhoods(self) -> Tensor:
        """Return the mean over the hops of z^h of all users (U, d)."""
        everyone = torch.arange(self.encoder.people, device=self.encoder.users.weight.device)
        users = torch.cat([self.bridge(self.in_sources(part)) for part in everyone.split(USERS_AT_ONCE)])
        items = torch.cat([self.bridge(in_ball(part)) for part in self.encoder.items.weight.split(USERS_AT_ONCE)])
        total = users
        for _ in range(self.config.hops):
            users, items = self.items_of(items), self.buyers_of(users)
            total = total + users
        return total / (self.config.hops + 1)

    # Prediction

    def train(self, mode: bool = True) -> Recommending:
        self._inferred = None
        return super().train(mode)

    def score_catalogue(self, users: Tensor) -> Tensor:
        vectors = torch.cat([in_ball(self.vectors(part)) for part in users.split(USERS_AT_ONCE)])
        items = in_ball(self.encoder.items.weight[self.purchases.catalogue])
        lengths = vectors.square().sum(1, keepdim=True) + items.square().sum(1)
        return 2 * vectors @ items.T - lengths


def in_ball(vectors: Tensor) -> Tensor:
    """Return v / max(1, |v|) of vectors v (..., d)."""
    return vectors / torch.linalg.vector_norm(vectors, dim=-1, keepdim=True).clamp_min(1)


def _means(bought: sp.csr_matrix) -> sp.csr_matrix:
    """Divide each row of a matrix of ones by its sum."""
    sums = np.asarray(bought.sum(axis=1)).ravel()
    return (sp.diags_array(1 / np.maximum(sums, 1)) @ bought).tocsr()
