"""Whole groups of rows: all rows of a user are in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.config import SamplerConfig
from tl_research.data.batch import Samples
from tl_research.data.sampling.plan import PassPlan
from tl_research.data.sampling.uniform import BatchPlan
from tl_research.errors import ConfigError
from tl_research.registry import register_sampler


@dataclass
class ByUserConfig(SamplerConfig):
    """Options of `by_user`: the column that says which rows stay together."""

    name: str = "by_user"
    column: str = "user"  # the extra column whose equal values are one group


@register_sampler("by_user", config=ByUserConfig)
class ByUser(PassPlan):
    """Whole groups of an extra column: every group once per pass, in a random order, none of them cut.

    A batch holds as many groups as have `batch_size` rows on average, and one group at least. Groups are dealt to
    batches and ranks as `BatchPlan` deals rows. No data set of the package has such a column; one of a plug-in gives it
    as `Domain.extra`.

    Raises:
        ConfigError: the rows have no such column.
    """

    def __init__(self, config: ByUserConfig, samples: Samples, batch_size: int, **place):
        super().__init__(**place)
        column = samples.extra.get(config.column)
        if column is None:
            has = f"the extra columns {', '.join(samples.extra)}" if samples.extra else "no extra column"
            raise ConfigError(
                f"data.sampler.column: got {config.column!r}, but side {self.side!r} has {has}; no data set of the "
                "package has any, one of your own gives them as Domain.extra (CONTRIBUTING.md)"
            )
        _, member, sizes = column.cpu().unique(return_inverse=True, return_counts=True)
        self.groups = member.argsort(stable=True).split(sizes.tolist())
        self.plan = BatchPlan(len(sizes), max(1, batch_size * len(sizes) // samples.size), **place)
        self.batches = self.plan.batches

    def draw(self, passed: int) -> Sequence[Tensor]:
        return [torch.cat([self.groups[number] for number in batch]) for batch in self.plan.draw(passed)]
