"""Self-attention over what a user has bought so far, in the order of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from tl_research.config import at_least, check
from tl_research.data.batch import Samples
from tl_research.errors import ConfigError, DataError
from tl_research.interactions.training import Training
from tl_research.methods.recommending import Recommending, RecommendingConfig
from tl_research.methods.step import Encoded
from tl_research.nn.attention import AttentionBlock
from tl_research.nn.fitted import Fitted
from tl_research.registry import register_method

#: Users whose states are held at once.
BLOCK = 1024


@dataclass
class SASRecConfig(RecommendingConfig):
    """Group `method` of `sasrec`."""

    name: str = "sasrec"
    use_sources: bool = False  # whether a user's purchases in the sources stand in his sequence too, and are trained on
    length: int = at_least(1, default=20)  # latest purchases that a state reads
    layers: int = at_least(1, default=2)
    heads: int = at_least(1, default=1)


def wants_times(why: str) -> str:
    """Return what is wrong with data whose purchases have no order."""
    return (
        f"{why}, and method 'sasrec' orders purchases by their time; xmarket and simulated_shops have times, and "
        "interactions with data.time=COLUMN"
    )


class Sequences(Fitted):
    """Purchases of all users, user after user, by time.

    Buffers: `start` (users + 1,) and `item`; `place` (rows of all domains,) where a training row stands in its user's
    sequence, the sources' rows first; `sources` () how many of these there are.
    """

    start: Tensor
    item: Tensor
    place: Tensor
    sources: Tensor

    def learn(self, training: Training, *, use_sources: bool) -> None:
        """Order the target's rows, and with `use_sources` those of all domains.

        Raises:
            DataError: a purchase has no time.
        """
        logs = [*training.sources, training.target]
        read = logs if use_sources else logs[-1:]
        for log in read:
            if log.time is None:
                raise DataError(f"method.name: {wants_times(f'{log.name!r} has no times')}")
        user, item, time = (np.concatenate([getattr(log, name) for log in read]) for name in ("user", "item", "time"))
        order = np.lexsort((time, user))
        start = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=training.target.users))])
        place = np.empty(len(user), dtype=np.int64)
        place[order] = np.arange(len(user)) - start[user[order]]
        sources = np.array(len(user) - len(training.target))
        found = {"start": start, "item": item[order], "place": place, "sources": sources}
        self.keep(**{name: torch.from_numpy(value.astype(np.int64)) for name, value in found.items()})

    def before(self, user: Tensor, place: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Return the items (n, length) of users (n,) before a place (n,) of their sequence, and which there are."""
        at = place[:, None] + torch.arange(-length, 0, device=user.device)
        return self.item[(self.start[user][:, None] + at).clamp(0, len(self.item) - 1)], at >= 0


@register_method(
    "sasrec",
    config=SASRecConfig,
    family="relation",
    settings=("supervised",),
    targets=("preference",),
    encoder="embedding",
    paper="Kang & McAuley 2018, ICDM, section III",
    no_gain="a trained baseline of recommenders",
)
class SASRec(Recommending):
    """s_ui = h · q_i, h the last state of a transformer over p_u, q_1 + t_k, ..., q_k + t_1, the k purchases before i.

    t_a is the vector of the purchase that is the a-th from the end. Each training row is a next item, with the loss of
    pairs in place of the paper's cross-entropy.

    Ours: the user's vector p_u stands before the sequence, so that a user without a purchase has a state; each row has
    a sequence of its own, whose members all read each other, where the paper masks the later ones.
    """

    ranks_sources = False

    def build(self) -> None:
        width = self.encoder.out_features
        self.ages = nn.Parameter(0.1 * torch.randn(self.config.length, width))
        self.blocks = nn.ModuleList(AttentionBlock(width, self.config.heads) for _ in range(self.config.layers))
        self.sequences = Sequences()

    @classmethod
    def check_config(cls, config: DictConfig) -> None:
        super().check_config(config)
        width, heads = config.encoder.width, config.method.heads
        check(width % heads == 0, "method.heads", heads, f"a divisor of encoder.width, which is {width}")
        lacks = config.data.lacks_times()
        if lacks:
            key, why = lacks.split(": ")
            raise ConfigError(f"{key}: {wants_times(why)}")

    def learn(self, training: Training) -> None:
        self.sequences.learn(training, use_sources=self.config.use_sources)
        self.sequences.to(self.device)

    def states(self, user: Tensor, place: Tensor) -> Tensor:
        """Return h (n, d) of users (n,) before a place (n,) of their sequence."""
        item, is_there = self.sequences.before(user, place, self.config.length)
        users, items = self._tables
        members = (self.rows_of(items, item) + self.ages) * is_there[:, :, None]
        members = torch.cat([self.rows_of(users, user)[:, None], members], dim=1)
        is_there = torch.cat([torch.ones_like(is_there[:, :1]), is_there], dim=1)
        for block in self.blocks:
            members = block(members, is_there)
        return members[:, -1]

    def pair(self, rows: Samples | Encoded, item: Tensor) -> Tensor:
        of_target = rows.domain == self.purchases.target
        place = self.sequences.place[rows.index + self.sequences.sources * of_target]
        states = self.states(rows.extra["user"], place)
        return (states if item.ndim == 1 else states[:, None]) * self.rows_of(self._tables.items, item)

    def score_catalogue(self, users: Tensor) -> Tensor:
        if self._tables is None:
            self._tables = self.tables()
        whole = self.sequences.start[users + 1] - self.sequences.start[users]
        states = [self.states(*part) for part in zip(users.split(BLOCK), whole.split(BLOCK), strict=True)]
        return torch.cat(states) @ self._tables.items[self.purchases.catalogue].T
