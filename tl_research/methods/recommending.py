"""`Recommending`: methods that learn what users prefer, by gradient steps on pairs of a bought and another item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor

from tl_research.config import MethodConfig, at_least
from tl_research.data.batch import Inputs, Samples
from tl_research.errors import ConfigError
from tl_research.interactions.training import Training
from tl_research.methods.base import AdaptationModule
from tl_research.methods.purchases import Purchases, training_of
from tl_research.methods.step import Encoded, Phase, Step
from tl_research.nn.ranking import mask_rows, mean_ranks

#: Scores that are held at once; on a processor few enough that most of them stay in its own memory.
BLOCK_SCORES, CPU_BLOCK_SCORES = 32_000_000, 4_000_000


@dataclass
class RankingConfig(MethodConfig):
    """Group `method`, common to the recommenders that are trained."""

    negatives: int = at_least(1, default=1)  # items per interaction that the user has not bought
    penalty: float = at_least(0, default=1e-4)  # on the squared length of the vectors of a pair


@dataclass
class RecommendingConfig(RankingConfig):
    """Group `method` of recommenders that can do without the source domains."""

    use_sources: bool = True  # whether the interactions of the source domains train too


class Tables(NamedTuple):
    """Vectors of all users (U, d) and all items (I, d), in the codes of the task, or where `places` says."""

    users: Tensor
    items: Tensor


class Recommending(AdaptationModule):
    """The score of user u for item i is a product of vectors; pairs are ranked by Bayesian personalised ranking.

    L = mean over interactions (u, i) and drawn items j of softplus(s_uj - s_ui) + penalty / 2 (|u|² + |i|² + |j|²).

    Evaluation ranks each held-out item among all of its domain's catalogue that the user has not bought there. The
    domain is the target; with `data.dual_target` also the source.

    Hooks: `own_tables` gives the vectors that are learnt, `tables` those that score, `places` where they stand in both.
    A method whose score is no product says its `pair` and `score_catalogue`.

    Reference:
        Rendle et al. 2009, UAI, "BPR: Bayesian Personalized Ranking from Implicit Feedback", equation 4.
    """

    reads: ClassVar[frozenset[str]] = frozenset(("source", "target_labeled"))
    #: Whether `score_catalogue` takes a source domain too, as `data.dual_target` asks for.
    ranks_sources: ClassVar[bool] = True

    def __init__(self, *arguments: Any, **options: Any):
        self._tables: Tables | None = None
        super().__init__(*arguments, **options)
        self.purchases = Purchases(self.encoder.spec.interactions.ranked_sources)

    @classmethod
    def check_config(cls, config: DictConfig) -> None:
        if not config.data.dual_target:
            return
        if not cls.ranks_sources:
            raise ConfigError(
                f"data.dual_target: got true; method {config.method.name!r} ranks the target's items alone"
            )
        if not getattr(config.method, "use_sources", True):
            raise ConfigError(
                "method.use_sources: got false; data.dual_target=true measures the source, which must train"
            )

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

    def own_tables(self) -> Tables:
        """Return the vectors that are learnt, on which the penalty is; by default the encoder's."""
        return Tables(self.encoder.users.weight, self.encoder.items.weight)

    def tables(self) -> Tables:
        """Return the vectors in force, of all users and items; by default those that are learnt."""
        return self.own_tables()

    def places(self, rows: Samples | Encoded, item: Tensor) -> tuple[Tensor, Tensor]:
        """Return where the users (n,) of rows, and items (n,) or (n, k) beside them, stand in the tables."""
        return rows.extra["user"], item

    def pair(self, rows: Samples | Encoded, item: Tensor) -> Tensor:
        """Return what is summed to the score: (n, d) for items (n,), one per row, and (n, k, d) for items (n, k)."""
        user, item = self.places(rows, item)
        users, items = self.rows_of(self._tables.users, user), self.rows_of(self._tables.items, item)
        return (users if item.ndim == 1 else users[:, None]) * items

    def score_catalogue(self, users: Tensor, domain: int | None = None) -> Tensor:
        """Return (u, c) scores for user codes (u,) of the c items of a domain's catalogue.

        Args:
            users: codes.
            domain: number of the domain; None: the target. A method that is no `ranks_sources` is not asked for others,
                and may leave the argument out.
        """
        if self._tables is None:
            self._tables = self.tables()
        return self._tables.users[users] @ self._tables.items[self.purchases.shelf(domain).catalogue].T

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
        features = self.pair(samples, samples.inputs["item"]).float()
        return Encoded(features, features.sum(1, keepdim=True), *samples[1:])

    def rows_of(self, table: Tensor, code: Tensor) -> Tensor:
        """Return rows of a table."""
        return F.embedding(code, table, sparse=self.reads_rows)

    @property
    def reads_rows(self) -> bool:
        """Whether a step reads some rows of the tables alone, so that their gradient is sparse."""
        kind = type(self)
        is_own = kind.tables is Recommending.tables and kind.own_tables is Recommending.own_tables
        return is_own and self.optimizer_config.name == "lazy_adam"

    def task_loss(self, rows: Encoded, weight: Tensor | None = None) -> Tensor:
        """Mean over the rows, or with weights (n,) Σ_i w_i l_i / n."""
        losses = self.row_losses(rows)
        return (losses if weight is None else weight * losses).mean()

    def row_losses(self, rows: Encoded) -> Tensor:
        """Return the pairwise loss (n,) of interactions, each against its drawn items."""
        drawn = self.draw(rows)
        of_drawn = self.pair(rows, drawn).float().sum(2)
        pairs = self.pair_losses(of_drawn - rows.logits).mean(1)
        if not self.config.penalty:
            return pairs
        return pairs + self.config.penalty * self.squared_lengths(rows, drawn) / 2

    def pair_losses(self, excess: Tensor) -> Tensor:
        """Return the loss of what the scores of drawn items (n, k) have more than those of the bought ones."""
        return F.softplus(excess)

    def draw(self, rows: Samples | Encoded) -> Tensor:
        """Return items (n, negatives) that the rows' users have not bought."""
        return self.purchases.negatives(rows, count=self.config.negatives, seed=self.seed, step=self.steps_done)

    @property
    def steps_done(self) -> int:
        """Optimiser steps done, of which what is drawn is a function."""
        return self.global_step if self._trainer else 0

    def squared_lengths(self, rows: Encoded, drawn: Tensor) -> Tensor:
        """Return |u|² + |i|² + mean_j |j|² (n,) of the vectors that are learnt."""
        users, items = self.own_tables()
        user, bought = self.places(rows, torch.cat([rows.extra["item"][:, None], drawn], dim=1))
        own = self.rows_of(users, user).square().sum(1)
        lengths = self.rows_of(items, bought).square().sum(2)
        return own + lengths[:, 0] + lengths[:, 1:].mean(1)

    # Prediction

    def train(self, mode: bool = True) -> Recommending:
        self._tables = None
        return super().train(mode)

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Return features (n, d), and the rank of each row's item for its user beside the user: (n, 2) float64.

        Inputs that say the `domain` of each row have it in a third column, and are ranked each in its own domain.
        """
        user, domain = inputs["user"], inputs.get("domain")
        if domain is None:
            columns = [self._ranks(user, inputs["item"], None), user]
        else:
            rank = torch.empty(len(user), dtype=torch.float64, device=user.device)
            for number in domain.unique().tolist():
                rows = domain == number
                of_target = number == self.purchases.target
                rank[rows] = self._ranks(user[rows], inputs["item"][rows], None if of_target else number)
            columns = [rank, user, domain]
        return self.encoder(inputs), torch.stack([column.double() for column in columns], dim=1)

    def _ranks(self, user: Tensor, item: Tensor, domain: int | None) -> Tensor:
        """Return the rank (n,) of each item among its user's candidates in a domain; None: the target."""
        users, at = user.unique(return_inverse=True)
        shelf = self.purchases.shelf(domain)
        place = shelf.place_in_catalogue(item)
        rank = torch.empty(len(user), dtype=torch.float64, device=user.device)
        block = CPU_BLOCK_SCORES if user.device.type == "cpu" else BLOCK_SCORES
        step = max(1, block // max(1, len(shelf.catalogue)))
        for first in range(0, len(users), step):
            rows = ((at >= first) & (at < first + step)).nonzero()[:, 0]
            scores = self.candidate_scores(users[first : first + step], domain)
            rank[rows] = mean_ranks(scores, at[rows] - first, place[rows])
        return rank

    def candidate_scores(self, users: Tensor, domain: int | None = None) -> Tensor:
        """Return (u, c) scores of a domain's catalogue for user codes (u,), -inf for what a user has bought there."""
        of_source = () if domain is None else (domain,)
        with torch.autocast(users.device.type, enabled=False):
            scores = self.score_catalogue(users, *of_source).float()
        return mask_rows(scores.clone(), *self.purchases.shelf(domain).seen_by(users))
