"""Every row once per pass, in a random order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from tl_research.config import SamplerConfig
from tl_research.data.batch import Samples
from tl_research.data.sampling.plan import PassPlan
from tl_research.registry import register_sampler


class BatchPlan(PassPlan):
    """Each pass is a new permutation of all rows, cut into batches of nearly equal size.

    There is no short last batch, which would have to be dropped or would break a batch statistic.

    Args:
        rows: rows of the side, on all ranks together.
        batch_size: largest number of rows of a batch on one rank.
        place: as in `PassPlan`. A rank takes every world_size-th row of the permutation. A pass that does not divide is
            filled up from its own beginning, so that all ranks take the same number of steps.

    Raises:
        ValueError: there are no rows.
    """

    def __init__(self, rows: int, batch_size: int, **place):
        super().__init__(**place)
        if rows < 1:
            raise ValueError(f"{self.side}: there are no rows to draw batches from")
        self.rows = rows
        self.local_rows = ceil(rows / self.world_size)
        self.batches = ceil(self.local_rows / batch_size)

    def draw(self, passed: int) -> Sequence[Tensor]:
        order = torch.randperm(self.rows, generator=self.generator(passed))
        if self.world_size > 1:
            whole = self.local_rows * self.world_size
            order = order.repeat(ceil(whole / self.rows))[:whole][self.rank :: self.world_size].contiguous()
        return order.tensor_split([self._cut(position) for position in range(1, self.batches)])

    def size(self, step: int) -> int:
        position = step % self.batches
        return self._cut(position + 1) - self._cut(position)

    def _cut(self, position: int) -> int:
        return position * self.local_rows // self.batches


@dataclass
class UniformConfig(SamplerConfig):
    """Options of `uniform`: none but the sides."""

    name: str = "uniform"


@register_sampler("uniform", config=UniformConfig)
def uniform(config: UniformConfig, samples: Samples, batch_size: int, **place) -> BatchPlan:
    """Every row once per pass, in a random order: what is done where nothing else is said."""
    return BatchPlan(samples.size, batch_size, **place)
