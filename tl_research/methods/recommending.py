"""`Recommending`: methods that learn what users prefer, by gradient steps on pairs of a bought and another item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tl_research.config import MethodConfig, at_least
from tl_research.data.batch import Inputs, Samples
from tl_research.interactions.training import Training
from tl_research.methods.base import AdaptationModule
from tl_research.methods.purchases import Purchases, training_of
from tl_research.methods.step import Encoded, Phase, Step
from tl_research.nn.ranking import mask_rows, mean_ranks

#: Scores that are held at once.
BLOCK_SCORES = 32_000_000


@dataclass
class RecommendingConfig(MethodConfig):
    """Group `method`, common to the recommenders that are trained."""

    use_sources: bool = True  # whether the interactions of the source domains train too
    negatives: int = at_least(1, default=1)  # items per interaction that the user has not bought
    penalty: float = at_least(0, default=1e-4)  # on the squared length of the vectors of a pair


class Tables(NamedTuple):
    """Vectors of all users (U, d) and all items (I, d), in the codes of the task."""

    users: Tensor
    items: Tensor


class Recommending(AdaptationModule):
    """The score of user u for item i is a product of vectors; pairs are ranked by Bayesian personalised ranking.

    L = mean over interactions (u, i) and drawn items j of softplus(s_uj - s_ui) + penalty / 2 (|u|² + |i|² + |j|²).

    Evaluation ranks each held-out item among all of the target's catalogue that the user has not bought.

    Hooks: `tables` gives the vectors; `user_rows` which of them interactions read; `score_catalogue` the scores, for a
    method whose score is no product.

    Reference:
        Rendle et al. 2009, UAI, "BPR: Bayesian Personalized Ranking from Implicit Feedback", equation 4.
    """

    reads: ClassVar[frozenset[str]] = frozenset(("source", "target_labeled"))

    def __init__(self, *arguments: Any, **options: Any):
        self._tables: Tables | None = None
        super().__init__(*arguments, **options)
        self.purchases = Purchases()

    @classmethod
    def needs_whole_weights(cls) -> str:
        return "reads the vectors of all users and items"

    def prepare(self, source: Samples, target: Samples, target_labeled: Samples | None) -> None:
        super().prepare(source, target, target_labeled)
        known = self.encoder.spec.interactions
        training = training_of(source, target_labeled or target, known.users, known.items, known.unsold)
        self.purchases.learn(training)
        self.purchases.to(target.label.device)
        self.learn(training)

    def learn(self, training: Training) -> None:
        """See the logs once, before the first step; what is kept is kept in buffers."""

    def phase(self, epoch: int) -> Phase:
        return Phase(source=getattr(self.config, "use_sources", True))

    def tables(self) -> Tables:
        """Return the vectors in force, of all users and items; by default the encoder's own."""
        return Tables(self.encoder.users.weight, self.encoder.items.weight)

    def score_catalogue(self, users: Tensor) -> Tensor:
        """Return (u, len(catalogue)) scores for user codes (u,)."""
        if self._tables is None:
            self._tables = self.tables()
        return self._tables.users[users] @ self._tables.items[self.purchases.catalogue].T

    # Training

    def loss_terms(self, step: Step) -> dict[str, Tensor]:
        self._tables = None
        try:
            return super().loss_terms(step)
        finally:
            self._tables = None

    def encode(self, samples: Samples, *, is_source: bool = False) -> Encoded:
        """Return the products of vectors (n, d) as features and their sums (n, 1) as logits."""
        if self._tables is None:
            self._tables = self.tables()
        features = (self._users(self.user_rows(samples)) * self._items(samples.inputs["item"])).float()
        return Encoded(features, features.sum(1, keepdim=True), *samples[1:])

    def user_rows(self, rows: Samples | Encoded) -> Tensor:
        """Return which rows (n,) of the table of users interactions read; by default the codes of their users."""
        return rows.extra["user"]

    def _users(self, codes: Tensor) -> Tensor:
        return F.embedding(codes, self._tables.users, sparse=self.reads_rows)

    def _items(self, codes: Tensor) -> Tensor:
        return F.embedding(codes, self._tables.items, sparse=self.reads_rows)

    @property
    def reads_rows(self) -> bool:
        """Whether a step reads some rows of the tables alone, so that their gradient is sparse."""
        is_own = type(self).tables is Recommending.tables
        return is_own and self.optimizer_config.name == "lazy_adam"

    def task_loss(self, rows: Encoded, weight: Tensor | None = None) -> Tensor:
        """Mean over the rows, or with weights (n,) Σ_i w_i l_i / n."""
        losses = self.row_losses(rows)
        return (losses if weight is None else weight * losses).mean()

    def row_losses(self, rows: Encoded) -> Tensor:
        """Return the pairwise loss (n,) of interactions, each against its drawn items."""
        user, item = self.user_rows(rows), rows.extra["item"]
        drawn = self.draw(rows)
        of_drawn = (self._users(user)[:, None] * self._items(drawn)).float().sum(2)
        pairs = F.softplus(of_drawn - rows.logits).mean(1)
        if not self.config.penalty:
            return pairs
        return pairs + self.config.penalty * self.squared_lengths(user, item, drawn) / 2

    def draw(self, rows: Samples | Encoded) -> Tensor:
        """Return items (n, negatives) that the rows' users have not bought."""
        return self.purchases.negatives(rows, count=self.config.negatives, seed=self.seed, step=self.steps_done)

    @property
    def steps_done(self) -> int:
        """Optimiser steps done, of which what is drawn is a function."""
        return self.global_step if self._trainer else 0

    def squared_lengths(self, user: Tensor, item: Tensor, drawn: Tensor) -> Tensor:
        """Return |u|² + |i|² + mean_j |j|² (n,) of the encoder's own vectors."""
        users, items = self.encoder.users.weight, self.encoder.items.weight
        own = F.embedding(user, users, sparse=self.reads_rows).square().sum(1)
        bought = torch.cat([item[:, None], drawn], dim=1)
        lengths = F.embedding(bought, items, sparse=self.reads_rows).square().sum(2)
        return own + lengths[:, 0] + lengths[:, 1:].mean(1)

    # Prediction

    def train(self, mode: bool = True) -> Recommending:
        self._tables = None
        return super().train(mode)

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Return features (n, d), and the rank of each row's item for its user beside the user: (n, 2) float64."""
        user, item = inputs["user"], inputs["item"]
        users, at = user.unique(return_inverse=True)
        place = self.purchases.place_in_catalogue(item)
        rank = torch.empty(len(user), dtype=torch.float64, device=user.device)
        step = max(1, BLOCK_SCORES // max(1, len(self.purchases.catalogue)))
        for first in range(0, len(users), step):
            rows = ((at >= first) & (at < first + step)).nonzero()[:, 0]
            scores = self.candidate_scores(users[first : first + step])
            rank[rows] = mean_ranks(scores, at[rows] - first, place[rows])
        return self.encoder(inputs), torch.stack([rank, user.double()], dim=1)

    def candidate_scores(self, users: Tensor) -> Tensor:
        """Return (u, len(catalogue)) scores for user codes (u,), -inf for what a user has bought in the target."""
        with torch.autocast(users.device.type, enabled=False):
            scores = self.score_catalogue(users).float()
        return mask_rows(scores.clone(), *self.purchases.seen_by(users))
