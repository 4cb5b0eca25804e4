"""What a plan of batches is: which rows of one side a step sees, on one rank.

A plan is a pure function of (seed, side, rank, world size, step): any batch can be asked for by itself, so that
resuming a run is setting the step.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class Plan(Protocol):
    """Row numbers of every batch of one side, on one rank.

    Fields:
        batches: number of batches in one pass; the same on every rank.
    """

    batches: int

    def batch(self, step: int) -> Tensor:
        """Return the row numbers (int64) of the batch at `step`; 0 is the first step of the run."""

    def size(self, step: int) -> int:
        """Return the number of rows of the batch at `step`."""

    def extra(self, step: int) -> dict[str, Tensor]:
        """Return what the plan itself says of the rows of the batch at `step`: it is added to their `Samples.extra`.

        A plan says something of every batch or of none.
        """


class PassPlan(Plan):
    """A plan that draws a whole pass at once. A subclass sets `batches` and fills `draw`.

    Args:
        seed: of the draws.
        side: name mixed into the seed, so that two sides of one size are not drawn alike.
        rank, world_size: number of this process, and of all.
    """

    def __init__(self, *, seed: int, side: str, rank: int = 0, world_size: int = 1):
        self.seed, self.side, self.rank, self.world_size = seed, side, rank, world_size
        self._drawn: tuple[int, Sequence[Tensor]] | None = None

    def draw(self, passed: int) -> Sequence[Tensor]:
        """Return the batches of one pass; `passed` is the number of passes before it."""
        raise NotImplementedError

    def batch(self, step: int) -> Tensor:
        passed, position = divmod(step, self.batches)
        if self._drawn is None or self._drawn[0] != passed:
            self._drawn = (passed, self.draw(passed))
        return self._drawn[1][position]

    def size(self, step: int) -> int:
        return len(self.batch(step))

    def extra(self, step: int) -> dict[str, Tensor]:
        return {}

    def generator(self, *words: object) -> torch.Generator:
        """Return a generator of draws that are the same for the same seed, side and `words`, on every rank."""
        text = "/".join(map(str, (self.seed, self.side, *words)))
        return torch.Generator().manual_seed(zlib.crc32(text.encode()))
