"""Paired loaders of source and target rows whose whole state is one number: the steps taken.

Each side has a plan of its own; step t takes batch t of it. An epoch is one pass over the side of the most batches,
and the others begin their next pass meanwhile. Resuming is setting t.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from tl_research.config import SIDES, SamplerConfig
from tl_research.data.batch import PairedBatch, Samples, map_named
from tl_research.data.sampling.plan import Plan
from tl_research.data.sampling.uniform import BatchPlan
from tl_research.errors import ConfigError
from tl_research.registry import SAMPLERS

Draw = Callable[[int], Samples]


class PairedLoader:
    """Batches of all sides, for tensors held in memory or for rows that workers decode.

    Args:
        sides: side -> `Samples`, or a map-style `Dataset` whose items are `Samples` of one row: all sides of the
            setting. An epoch is one pass over the longest of them, whichever is read, so that all methods of a table
            take the same number of steps.
        batch_sizes: side -> largest number of rows per batch.
        seed: of the plans.
        reads: sides that are gathered; every other one is None in each batch.
        sampler: how batches are drawn on the sides that it names; None, and on other sides: uniformly.
        rank, world_size: number of this process, and of all.
        num_workers: worker processes for `Dataset` sides.
    """

    def __init__(
        self,
        sides: dict[str, Samples | Dataset],
        batch_sizes: dict[str, int],
        *,
        seed: int,
        reads: Collection[str] = SIDES,
        sampler: SamplerConfig | None = None,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
    ):
        self.sides = {side: samples for side, samples in sides.items() if side in reads}
        self.seed, self.num_workers = seed, num_workers
        self.plans = {
            side: make_plan(sampler, samples, batch_sizes[side], seed=seed, side=side, rank=rank, world_size=world_size)
            for side, samples in sides.items()
        }
        self._length = max(plan.batches for plan in self.plans.values())
        self.step = 0

    def __len__(self) -> int:
        """Steps per epoch."""
        return self._length

    def __iter__(self) -> Iterator[PairedBatch]:
        # Lightning leaves the iterator of an epoch unfinished, so where an epoch begins is told by the step alone.
        draws = {side: self._draw(side) for side in self.sides}
        sources, targets, labeled = (draws.get(side) for side in SIDES)
        for _ in range(self._length - self.step % self._length):
            # Counted before the batch is handed out: a checkpoint taken after this batch resumes with the next.
            step = self.step
            self.step = step + 1
            yield PairedBatch(
                None if sources is None else sources(step),
                None if targets is None else targets(step),
                None if labeled is None else labeled(step),
            )

    def _draw(self, side: str) -> Draw:
        """What gives the rows of a side at a step, with what their plan says of them."""
        samples, plan = self.sides[side], self.plans[side]
        gather = self._gathered(samples, plan) if isinstance(samples, Samples) else self._worked(samples, plan)
        if not plan.extra(self.step):
            return gather

        def draw(step: int) -> Samples:
            rows = gather(step)
            said = map_named(lambda tensor: tensor.to(rows.label.device, non_blocking=True), plan.extra(step))
            return rows._replace(extra=rows.extra | said)

        return draw

    def _gathered(self, samples: Samples, plan: Plan) -> Draw:
        device = samples.label.device
        if device.type == "cpu":
            return lambda step: samples.rows(plan.batch(step))
        return lambda step: samples.rows(plan.batch(step).to(device, non_blocking=True))

    def _worked(self, samples: Dataset, plan: Plan) -> Draw:
        remaining = range(self.step, self.step + self._length - self.step % self._length)
        batches = iter(
            DataLoader(
                samples,
                batch_sampler=_Batches(plan, remaining),
                collate_fn=_collate,
                num_workers=self.num_workers,
                pin_memory=torch.cuda.is_available(),
                # Of its own: a resumed run makes one loader more, and must not draw once more from the global one.
                generator=torch.Generator().manual_seed(self.seed),
            )
        )
        return lambda step: next(batches)

    def state_dict(self) -> dict[str, int]:
        """The steps taken."""
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after the steps taken by the loader that gave `state`."""
        self.step = int(state["step"])


def make_plan(
    sampler: SamplerConfig | None, samples: Samples | Dataset, batch_size: int, *, side: str, **place
) -> Plan:
    """Make the plan of one side.

    Args:
        sampler: group `data.sampler`; None: uniform.
        samples: rows of the side, with their labels hidden where training may not see them. Of a `Dataset` only the
            length is known, so that it can only be drawn uniformly.
        batch_size: largest number of rows per batch, on one rank.
        side: name of the side.
        place: `seed`, `rank` and `world_size`.

    Raises:
        ConfigError: the sampler reads what the rows do not have, such as labels that are hidden.
    """
    place["side"] = side
    is_held = isinstance(samples, Samples)
    if sampler is None or side not in sampler.sides:
        return BatchPlan(samples.size if is_held else len(samples), batch_size, **place)
    if not is_held:
        raise ConfigError(f"data.sampler.sides: of {side} only the number of rows is known before they are decoded")
    return SAMPLERS.get(sampler.name).target(sampler, samples, batch_size, **place)


class _Batches:
    def __init__(self, plan: Plan, steps: range):
        self.plan, self.steps = plan, steps

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self):
        return (self.plan.batch(step).tolist() for step in self.steps)


def _collate(rows: list[Samples]) -> Samples:
    return Samples(
        default_collate([row.inputs for row in rows]),
        torch.stack([torch.as_tensor(row.label) for row in rows]),
        torch.stack([torch.as_tensor(row.index) for row in rows]),
        torch.stack([torch.as_tensor(row.domain) for row in rows]),
        default_collate([row.extra for row in rows]),
    )
