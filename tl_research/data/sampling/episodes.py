"""Episodes of few-shot learning: a few classes, some rows to learn them by, others to be judged on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from tl_research.config import SamplerConfig, check
from tl_research.data.batch import Samples
from tl_research.data.sampling.labels import known_classes
from tl_research.data.sampling.plan import PassPlan
from tl_research.errors import DataError
from tl_research.registry import register_sampler

#: Values of `extra["role"]`.
SUPPORT, QUERY = 0, 1


@dataclass
class EpisodesConfig(SamplerConfig):
    """Options of `episodes`: an episode has ways * (shots + queries) rows."""

    name: str = "episodes"
    ways: int = 5  # classes per episode
    shots: int = 1  # support rows per class
    queries: int = 15  # query rows per class

    def __post_init__(self):
        super().__post_init__()
        check(self.ways >= 2, "data.sampler.ways", self.ways, "at least 2 classes")
        for key in ("shots", "queries"):
            check(getattr(self, key) >= 1, f"data.sampler.{key}", getattr(self, key), "at least 1 row per class")


@register_sampler("episodes", config=EpisodesConfig, paper="Vinyals et al. 2016, NeurIPS, section 2.2")
class Episodes(PassPlan):
    """A batch is one episode: `ways` random classes with `shots` support rows and `queries` query rows of each.

    The support rows come first; `extra["role"]` says which rows are `SUPPORT` and which `QUERY`. No row is twice in an
    episode. A pass has as many episodes as the side has rows for; its classes being drawn at random, it need not hold
    every row. Each rank has episodes of its own. `data.batch_size` does not matter.

    Raises:
        ConfigError: the labels are hidden, or numbers.
        DataError: fewer than `ways` classes have the rows that an episode takes.
    """

    def __init__(self, config: EpisodesConfig, samples: Samples, batch_size: int, **place):
        super().__init__(**place)
        label, of_each = known_classes(samples, config.name, self.side), config.shots + config.queries
        groups = [(label == code).nonzero().squeeze(1) for code in label.unique()]
        self.config, self.classes = config, [rows for rows in groups if len(rows) >= of_each]
        if len(self.classes) < config.ways:
            raise DataError(
                f"data.sampler: {len(self.classes)} classes of {self.side} have the {of_each} rows that an episode "
                f"takes (data.sampler.shots + data.sampler.queries), and data.sampler.ways={config.ways}"
            )
        self.batches = ceil(samples.size / (config.ways * of_each * self.world_size))
        roles = torch.tensor([SUPPORT, QUERY])
        self._extra = {"role": roles.repeat_interleave(config.ways * torch.tensor([config.shots, config.queries]))}

    def draw(self, passed: int) -> Sequence[Tensor]:
        ways, shots, of_each = self.config.ways, self.config.shots, self.config.shots + self.config.queries
        count, generator = self.batches * self.world_size, self.generator(passed)
        chosen = torch.rand(count, len(self.classes), generator=generator).argsort(dim=1)[:, :ways]
        rows = torch.empty(count, ways, of_each, dtype=torch.int64)
        for code, members in enumerate(self.classes):
            episode, way = (chosen == code).nonzero(as_tuple=True)
            at_once = len(members) // of_each  # episodes that one permutation of the class's rows serves
            orders = [
                members[torch.randperm(len(members), generator=generator)[: at_once * of_each]]
                for _ in range(ceil(len(episode) / at_once))
            ]
            if orders:
                rows[episode, way] = torch.cat(orders).view(-1, of_each)[: len(episode)]
        own = rows[self.rank :: self.world_size]
        return torch.cat([own[:, :, :shots].flatten(1), own[:, :, shots:].flatten(1)], dim=1)

    def size(self, step: int) -> int:
        return len(self._extra["role"])

    def extra(self, step: int) -> dict[str, Tensor]:
        return self._extra
