"""`Purchases`: what training has seen of users and items, as buffers: what is not shown again, what can be shown."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tl_research.data.batch import Samples
from tl_research.interactions.log import Log
from tl_research.interactions.training import Training
from tl_research.nn.counter_random import counted
from tl_research.nn.fitted import Fitted

#: Draws of a negative that the user has bought, before the last one is taken as it is.
REDRAWS = 8


class Purchases(Fitted):
    """Training interactions of all domains, and the target's catalogue.

    Buffers, made by `learn`: `catalogue` (c,) sorted codes of the items that may be recommended; `seen_start` (users
    + 1,) and `seen_item`: what each user has in the target; `own_start` (domains + 1,) and `own_item`: the items of
    each domain; `bought` sorted user * items + item of all domains.
    """

    catalogue: Tensor
    seen_start: Tensor
    seen_item: Tensor
    own_start: Tensor
    own_item: Tensor
    bought: Tensor
    items: Tensor

    def learn(self, training: Training) -> None:
        """Keep what is needed of the logs."""
        own = training.own
        own.sort_indices()
        of_domain = [np.unique(log.item) for log in training.sources] + [training.target.own_items()]
        sizes = np.cumsum([0, *map(len, of_domain)])
        logs = (*training.sources, training.target)
        keys = np.unique(np.concatenate([log.user * log.items + log.item for log in logs]))
        found = {
            "catalogue": training.catalogue,
            "seen_start": own.indptr.astype(np.int64),
            "seen_item": own.indices.astype(np.int64),
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

    def place_in_catalogue(self, item: Tensor) -> Tensor:
        """Return places (n,) of item codes (n,) in the catalogue, -1 outside."""
        place = torch.searchsorted(self.catalogue, item).clamp_max(len(self.catalogue) - 1)
        return torch.where(self.catalogue[place] == item, place, -1)

    def seen_by(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Return what users (u,) have in the target: starts (u + 1,), and places in the catalogue, user after user."""
        first, count = self.seen_start[users], self.seen_start[users + 1] - self.seen_start[users]
        start = torch.cat([count.new_zeros(1), count.cumsum(0)])
        at = torch.arange(int(start[-1]), device=users.device)
        at = at + torch.repeat_interleave(first - start[:-1], count)
        return start, self.place_in_catalogue(self.seen_item[at])

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
