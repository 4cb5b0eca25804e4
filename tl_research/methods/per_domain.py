"""`PerDomain`: recommenders with vectors for the target, and others for the sources together."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.data.batch import Samples
from tl_research.methods.recommending import Recommending, Tables
from tl_research.methods.step import Encoded


class PerDomain(Recommending):
    """Each user and each item has two vectors: of the sources, and of the target (the encoder's).

    The tables hold the sources' vectors first, below them the target's: user u of the target stands in row U + u.

    A method overrides `tables`: what `both` gives (sources, target), propagated and exchanged, then `stacked`.
    """

    def build(self) -> None:
        self.of_sources = type(self.encoder)(self.encoder.config, self.encoder.spec)

    def both(self) -> tuple[Tables, Tables]:
        """Return the vectors that are learnt, of the sources and of the target."""
        sides = self.of_sources, self.encoder
        return tuple(Tables(side.users.weight, side.items.weight) for side in sides)

    def own_tables(self) -> Tables:
        return stacked(*self.both())

    def places(self, rows: Samples | Encoded, item: Tensor) -> tuple[Tensor, Tensor]:
        known, below = self.encoder.spec.interactions, (rows.domain == self.purchases.target).long()
        of_item = below if item.ndim == 1 else below[:, None]
        return rows.extra["user"] + known.users * below, item + known.items * of_item

    def score_catalogue(self, users: Tensor, domain: int | None = None) -> Tensor:
        if self._tables is None:
            self._tables = self.tables()
        known, below = self.encoder.spec.interactions, int(domain is None)
        items = self._tables.items[known.items * below + self.purchases.shelf(domain).catalogue]
        return self._tables.users[known.users * below + users] @ items.T


def stacked(sources: Tables, target: Tables) -> Tables:
    """Return the tables of the target below those of the sources."""
    return Tables(*(torch.cat(pair) for pair in zip(sources, target, strict=True)))
