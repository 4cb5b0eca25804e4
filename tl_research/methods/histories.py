"""`Histories`: what each user bought in the sources, and how much in the target, as buffers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tl_research.interactions.training import Training
from tl_research.nn.counter_random import counted
from tl_research.nn.fitted import Fitted


class Histories(Fitted):
    """Training interactions of the sources by user, the latest last.

    Buffers, made by `learn`: `start` (users + 1,) and `item`: a user's purchases in the sources; `in_target` (users,):
    how many the user has in the target; `in_both` (b,): users with some in both; `domains`: number of sources.
    """

    start: Tensor
    item: Tensor
    in_target: Tensor
    in_both: Tensor
    domains: Tensor

    def learn(self, training: Training) -> None:
        """Keep what is needed of the logs.

        Raises:
            ValueError: no user has interactions in a source and in the target.
        """
        logs, users = training.sources, training.target.users
        empty = [np.zeros(0, dtype=np.int64)]
        user = np.concatenate([log.user for log in logs] or empty)
        item = np.concatenate([log.item for log in logs] or empty)
        has_time = all(log.time is not None for log in logs)
        time = np.concatenate([log.time for log in logs] or empty) if has_time else np.zeros(len(user))
        order = np.lexsort((time, user))
        in_source = np.bincount(user, minlength=users)
        in_target = np.diff(training.own.indptr)
        in_both = np.flatnonzero((in_source > 0) & (in_target > 0))
        if not len(in_both):
            raise ValueError("no user has interactions in the target and in a source, and a bridge is fitted to those")
        found = {
            "start": np.append(0, np.cumsum(in_source)),
            "item": item[order],
            "in_target": in_target,
            "in_both": in_both,
            "domains": np.array(len(logs)),
        }
        self.keep(**{name: torch.from_numpy(value.astype(np.int64)) for name, value in found.items()})

    def has_source(self, users: Tensor) -> Tensor:
        """Return whether users (n,) have bought in a source (n,)."""
        return self.start[users + 1] > self.start[users]

    def latest(self, users: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Return the latest purchases of users (n,) in the sources.

        Args:
            users: codes.
            length: at most so many each.

        Returns:
            Items (n, length), and whether there is one (n, length); where there is none the item is an arbitrary one.
        """
        end = self.start[users + 1][:, None]
        at = end - 1 - torch.arange(length, device=users.device)
        is_item = at >= self.start[users][:, None]
        return self.item[at.clamp(0, len(self.item) - 1)], is_item

    def draw(self, count: int, *, seed: int, step: int) -> Tensor:
        """Draw `count` of the users in both, with replacement: a pure function of seed and step."""
        number = counted(seed, torch.arange(count, device=self.in_both.device), step)
        return self.in_both[number % len(self.in_both)]
