"""`Purchases`: what training has seen of users and items, as buffers: what is not shown again, what can be shown."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tl_research.data.batch import Samples
from tl_research.interactions.log import Log
from tl_research.interactions.training import Training
from tl_research.methods.shelf import Shelf
from tl_research.nn.counter_random import counted

#: Draws of a negative that the user has bought, before the last one is taken as it is.
REDRAWS = 8


class Purchases(Shelf):
    """Training interactions of all domains: the target's shelf, and in `sources` those of the sources that are ranked.

    Buffers, made by `learn`, beside the shelf's: `own_start` (domains + 1,) and `own_item`: the items of each domain;
    `bought` sorted user * items + item of all domains; `items` () the number of codes.

    Args:
        ranked_sources: source domains whose held-out rows are ranked too, the first ones.
    """

    own_start: Tensor
    own_item: Tensor
    bought: Tensor
    items: Tensor

    def __init__(self, ranked_sources: int = 0):
        super().__init__()
        self.sources = nn.ModuleList(Shelf() for _ in range(ranked_sources))

    def learn(self, training: Training) -> None:
        """Keep what is needed of the logs."""
        self.stock(training.catalogue, training.own)
        for shelf, log in zip(self.sources, training.sources, strict=False):
            shelf.stock(log.own_items(), log.matrix())
        of_domain = [np.unique(log.item) for log in training.sources] + [training.target.own_items()]
        sizes = np.cumsum([0, *map(len, of_domain)])
        logs = (*training.sources, training.target)
        keys = np.unique(np.concatenate([log.user * log.items + log.item for log in logs]))
        found = {
            "own_start": sizes,
            "own_item": np.concatenate(of_domain),
            "bought": keys,
            "items": np.array(training.target.items),
        }
        self.keep(**{name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in found.items()})

    @property
    def target(self) -> int:
        """Number of the target domain; the sources have those before it."""
        return len(self.own_start) - 2

    def shelf(self, domain: int | None) -> Shelf:
        """Return the shelf of a domain, told by its number; None: the target's."""
        return self if domain is None or domain == self.target else self.sources[domain]

    def negatives(self, rows: Samples, *, count: int, seed: int, step: int) -> Tensor:
        """Draw items (n, count) of each row's domain that its user has not bought anywhere.

        The draw is a pure function of seed, step, domain and the row's number, so that neither a resumed run nor the
        number of processes changes it. A user who has nearly everything may get what is bought after `REDRAWS` draws.

        Args:
            rows: with `extra["user"]`, `domain` and `index` (n,).
            count: negatives per row.
            seed: of the run.
            step: optimiser steps done.
        """
        domain, user = (column.repeat_interleave(count) for column in (rows.domain, rows.extra["user"]))
        index = (rows.index[:, None] * count + torch.arange(count, device=rows.index.device)).flatten()
        first = self.own_start[domain]
        size, key = self.own_start[domain + 1] - first, user * self.items
        item = torch.zeros_like(index)
        pending = torch.arange(len(index), device=index.device)  # places whose item is still to be drawn
        for draw in range(REDRAWS):
            number = counted(seed, domain[pending], index[pending], step, draw)
            item[pending] = self.own_item[first[pending] + number % size[pending]]
            pending = pending[self._is_bought(key[pending] + item[pending])]
            if not len(pending):
                break
        return item.view(-1, count)

    def _is_bought(self, key: Tensor) -> Tensor:
        place = torch.searchsorted(self.bought, key).clamp_max(len(self.bought) - 1)
        return self.bought[place] == key


def training_of(source: Samples, target: Samples, users: int, items: int, unsold: tuple[int, ...]) -> Training:
    """Return the logs of a run's sides.

    Args:
        source: interactions of the source domains; `extra` has `user`, `item` and maybe `time`.
        target: training interactions of the target.
        users, items: numbers of codes.
        unsold: codes of items that the target sells and that nobody has bought there yet.
    """

    def log(name: str, rows: Samples) -> Log:
        columns = {what: tensor.cpu().numpy() for what, tensor in rows.extra.items()}
        return Log(name, columns["user"], columns["item"], users, items, time=columns.get("time"))

    domains = range(int(source.domain.max()) + 1) if source.size else ()
    sources = [log(f"source {place}", source.rows(torch.nonzero(source.domain == place)[:, 0])) for place in domains]
    return Training(log("target", target), tuple(sources), unsold)
