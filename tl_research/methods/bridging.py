"""`Bridging`: users have a vector per shop, and a bridge makes the new shop's of what is known from the old ones."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor

from tl_research.config import at_least, check, one_of, share
from tl_research.data.batch import Samples
from tl_research.errors import ConfigError
from tl_research.interactions.training import Training
from tl_research.methods.histories import Histories
from tl_research.methods.recommending import Recommending, RecommendingConfig
from tl_research.methods.staged import source_epochs
from tl_research.methods.step import Encoded, Phase
from tl_research.nn.bridge import KINDS, bridge

#: Users that are bridged at once.
USERS_AT_ONCE = 4096
ENCODER = "embedding_per_shop"


@dataclass
class BridgingConfig(RecommendingConfig):
    """Group `method`, common to the methods with a bridge."""

    # A user has few purchases to learn a vector by, and a bridge needs vectors that are no noise.
    penalty: float = at_least(0, default=0.1)
    table_share: float = share(default=0.7)  # of the epochs, that learn the vectors; the others learn the bridge
    blend: float = at_least(0, default=0)  # purchases in the target that the bridged vector counts as


class Bridging(Recommending):
    """First the vectors of users and items are learnt, then a bridge between the shops, with the vectors held still.

    A user has a vector s_u in the sources and t_u in the target. A user with n training purchases in the target is
    scored with (n t_u + b f_u) / (n + b), where f_u is the bridged vector and b is `blend`: without purchases with f_u
    alone. For a user whom no source knows f_u is the mean of t over the target's users.

    Hooks: `make_bridge`; `bridged` gives f_u; `terms` what the bridge minimises; `own` what stands for t_u.
    """

    ranks_sources = False

    def build(self) -> None:
        self.histories = Histories()
        self.make_bridge(self.encoder.out_features)

    @abstractmethod
    def make_bridge(self, width: int) -> None:
        """Make the parts of the bridge, between vectors of `width` numbers."""

    @abstractmethod
    def bridged(self, users: Tensor) -> Tensor:
        """Return f_u (n, d) of users (n,) whom a source knows."""

    @classmethod
    def check_config(cls, config: DictConfig) -> None:
        super().check_config(config)
        name, trainer = config.method.name, config.trainer
        check(trainer.max_steps == -1, "trainer.max_steps", trainer.max_steps, "-1: phases are counted in epochs")
        two = config.method.table_share == 0 or trainer.max_epochs >= 2
        check(two, "trainer.max_epochs", trainer.max_epochs, "2 or more: one for the vectors and one for the bridge")
        if config.encoder.name != ENCODER:
            raise ConfigError(f"encoder.name: got {config.encoder.name!r}; method {name!r} wants {ENCODER!r}")
        if not config.method.use_sources:
            raise ConfigError(f"method.use_sources: got false; the bridge of method {name!r} starts from the sources")

    def learn(self, training: Training) -> None:
        try:
            self.histories.learn(training)
        except ValueError as error:
            raise ConfigError(f"data.sources: {error}") from None
        self.histories.to(self.purchases.catalogue.device)

    def phase(self, epoch: int) -> Phase:
        if epoch < source_epochs(self.config.table_share, self.epochs):
            return Phase("tables", adapt=False, selectable=False, frozen=self._parts_of_the_bridge())
        return Phase("bridge", source=False, target_labeled=False, frozen=("encoder",))

    def _parts_of_the_bridge(self) -> tuple[str, ...]:
        own = (
            name for name, part in self.named_children() if name != "encoder" and any(True for _ in part.parameters())
        )
        return tuple(own)

    # The two vectors of a user

    def places(self, rows: Samples | Encoded, item: Tensor) -> tuple[Tensor, Tensor]:
        return rows.extra["user"] + self.encoder.people * (rows.domain == self.histories.domains), item

    def in_sources(self, users: Tensor) -> Tensor:
        """Return s_u (n, d)."""
        return self.encoder.users.weight[users]

    def in_target(self, users: Tensor) -> Tensor:
        """Return t_u (n, d)."""
        return self.encoder.users.weight[users + self.encoder.people]

    # Training

    def bridged_task(self, rows: Samples) -> Tensor:
        """Return the mean over rows of the pairwise loss with f_u in the place of t_u; 0 where no source knows u."""
        user, code = rows.extra["user"].unique(return_inverse=True)
        vector = self.bridged(user)[code]
        own, drawn = (self.encoder.items.weight[items] for items in (rows.extra["item"], self.draw(rows)))
        difference = torch.einsum("nd,nkd->nk", vector, drawn - own[:, None])
        counts = self.histories.has_source(rows.extra["user"])
        return (F.softplus(difference).mean(1) * counts).mean()

    # Prediction

    def score_catalogue(self, users: Tensor) -> Tensor:
        vectors = torch.cat([self.vectors(part) for part in users.split(USERS_AT_ONCE)])
        return vectors @ self.encoder.items.weight[self.purchases.catalogue].T

    def vectors(self, users: Tensor) -> Tensor:
        """Return the vectors (n, d) that users (n,) are scored with in the target."""
        expected = torch.where(self.histories.has_source(users)[:, None], self.bridged(users), self._mean_user())
        count = self.histories.in_target[users][:, None].to(expected.dtype)
        weight = count / (count + self.config.blend).clamp_min(1)
        return torch.where(count > 0, weight * self.own(users) + (1 - weight) * expected, expected)

    def own(self, users: Tensor) -> Tensor:
        """Return the vectors (n, d) of users (n,) who have bought in the target: t_u."""
        return self.in_target(users)

    def _mean_user(self) -> Tensor:
        return self.in_target(self.histories.in_target.nonzero()[:, 0]).mean(0)


@dataclass
class MappedConfig(BridgingConfig):
    """Group `method`, common to the bridges that are one map of vectors."""

    bridge: str = one_of(KINDS, default="linear")
    hidden: int = at_least(1, default=128)  # of bridge=mlp


class Mapped(Bridging):
    """f_u = f(s_u), with one map f for all users: affine, or a perceptron."""

    def make_bridge(self, width: int) -> None:
        self.bridge = bridge(self.config.bridge, width, self.config.hidden)

    def bridged(self, users: Tensor) -> Tensor:
        return self.bridge(self.in_sources(users))
