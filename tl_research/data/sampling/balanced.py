"""Equally many rows of each group in every batch: of each domain, or of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from tl_research.config import SamplerConfig
from tl_research.data.batch import Samples
from tl_research.data.sampling.labels import known_classes
from tl_research.data.sampling.plan import PassPlan
from tl_research.errors import ConfigError
from tl_research.registry import register_sampler


class Balanced(PassPlan):
    """A batch has m = floor(batch_size / groups) rows of each group.

    Each group is an endless sequence of permutations of its rows, of which each step takes the next m on every rank: a
    row is not drawn again before all others of its group are. A pass is over when the largest group has been seen
    whole; smaller groups have then begun again.

    Args:
        group: (n,) code of each row's group.
        what: groups, for the message.
        batch_size: largest number of rows of a batch on one rank.
        place: as in `PassPlan`. The ranks together take what one process with a batch of all their rows would take.

    Raises:
        ConfigError: a batch is too small to hold a row of each group.
    """

    def __init__(self, group: Tensor, what: str, batch_size: int, **place):
        super().__init__(**place)
        self.groups = [(group == code).nonzero().squeeze(1) for code in group.unique()]
        self.of_each = batch_size // max(1, len(self.groups))
        if not self.of_each:
            wants = f"{len(self.groups)} or more: one row of each of the {what} of {self.side}"
            raise ConfigError(f"data.batch_size: got {batch_size}, wants {wants}")
        self.batches = ceil(max(map(len, self.groups)) / (self.of_each * self.world_size))

    def draw(self, passed: int) -> Sequence[Tensor]:
        count = self.batches * self.of_each
        return torch.cat([self._next(i, passed, count).view(self.batches, -1) for i in range(len(self.groups))], dim=1)

    def size(self, step: int) -> int:
        return self.of_each * len(self.groups)

    def _next(self, number: int, passed: int, count: int) -> Tensor:
        """The `count` rows of a group that this rank takes in a pass: every world_size-th of those of all ranks."""
        rows, start = self.groups[number], passed * count * self.world_size
        first, last = start // len(rows), (start + count * self.world_size - 1) // len(rows)
        orders = [
            rows[torch.randperm(len(rows), generator=self.generator(number, cycle))] for cycle in range(first, last + 1)
        ]
        start += self.rank - first * len(rows)
        return torch.cat(orders)[start : start + count * self.world_size : self.world_size]


@dataclass
class PerDomainConfig(SamplerConfig):
    """Options of `per_domain`: none but the sides."""

    name: str = "per_domain"


@register_sampler("per_domain", config=PerDomainConfig, paper="Gulrajani & Lopez-Paz 2021, ICLR, appendix")
def per_domain(config: PerDomainConfig, samples: Samples, batch_size: int, **place) -> Balanced:
    """Equally many rows of each domain in every batch."""
    return Balanced(samples.domain.cpu(), "domains", batch_size, **place)


@dataclass
class ByClassConfig(SamplerConfig):
    """Options of `by_class`: none but the sides."""

    name: str = "by_class"


@register_sampler("by_class", config=ByClassConfig)
def by_class(config: ByClassConfig, samples: Samples, batch_size: int, *, side: str, **place) -> Balanced:
    """Equally many rows of each class in every batch."""
    return Balanced(known_classes(samples, config.name, side), "classes", batch_size, side=side, **place)
