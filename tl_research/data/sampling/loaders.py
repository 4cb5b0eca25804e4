"""Paired loaders of source and target rows whose whole state is one number: the steps taken.

The batch at step t is a pure function of (seed, side, rank, world size, t): a side of n rows is cut into
ceil(n / batch_size) batches of nearly equal size, so there is no short remainder to drop or to break a batch
statistic; step t takes batch t mod B of pass t div B; each pass has its own permutation, so every wrap
reshuffles, on both sides. Resuming is setting t.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from math import ceil

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from tl_research.data.batch import PairedBatch, Samples

SIDES = ("source", "target", "target_labeled")


class BatchPlan:
    """Row numbers of every batch of one side, on one rank.

    Args:
        rows: rows of the side on all ranks together.
        batch_size: largest number of rows of a batch on one rank.
        seed: of the permutations.
        side: name mixed into the seed, so that two sides of one size are not shuffled alike.
        rank, world_size: this process takes every world_size-th row of the permutation; a pass that does not
            divide is filled up from its own beginning, so that all ranks take the same number of steps.
    """

    def __init__(self, rows: int, batch_size: int, *, seed: int, side: str, rank: int = 0, world_size: int = 1):
        if rows < 1:
            raise ValueError(f"{side}: there are no rows to draw batches from")
        self.rows, self.seed, self.side, self.rank, self.world_size = rows, seed, side, rank, world_size
        self.local_rows = ceil(rows / world_size)
        self.batches = ceil(self.local_rows / batch_size)
        self._pass: tuple[int, Tensor] | None = None

    def batch(self, step: int) -> Tensor:
        """Row numbers (int64) of the batch at `step`; 0 is the first of the run."""
        passed, position = divmod(step, self.batches)
        if self._pass is None or self._pass[0] != passed:
            self._pass = (passed, self._permutation(passed))
        return self._pass[1][self._cut(position) : self._cut(position + 1)]

    def size(self, step: int) -> int:
        """Number of rows of the batch at `step`, without drawing it."""
        position = step % self.batches
        return self._cut(position + 1) - self._cut(position)

    def _cut(self, position: int) -> int:
        return position * self.local_rows // self.batches

    def _permutation(self, passed: int) -> Tensor:
        generator = torch.Generator().manual_seed(zlib.crc32(f"{self.seed}/{self.side}/{passed}".encode()))
        permutation = torch.randperm(self.rows, generator=generator)
        if self.world_size == 1:
            return permutation
        padded = permutation.repeat(ceil(self.local_rows * self.world_size / self.rows))
        return padded[: self.local_rows * self.world_size][self.rank :: self.world_size].contiguous()


class PairedLoader:
    """Batches of all sides, for tensors held in memory or for rows that workers decode.

    Args:
        sides: side -> `Samples`, or a map-style `Dataset` whose items are `Samples` of one row. A missing side
            is None in every batch.
        batch_sizes: side -> largest number of rows a batch.
        lengths: side -> rows, of all sides of the setting, also those that are not read: an epoch is one pass
            over the largest, so that all methods of a table take the same number of steps.
        seed, rank, world_size: as in `BatchPlan`.
        num_workers: worker processes for `Dataset` sides.
    """

    def __init__(
        self,
        sides: dict[str, Samples | Dataset],
        batch_sizes: dict[str, int],
        *,
        seed: int,
        lengths: dict[str, int] | None = None,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
    ):
        self.sides = sides
        self.num_workers = num_workers
        lengths = lengths or {side: _size(samples) for side, samples in sides.items()}
        plans = {
            side: BatchPlan(rows, batch_sizes[side], seed=seed, side=side, rank=rank, world_size=world_size)
            for side, rows in lengths.items()
        }
        self.plans = {side: plans[side] for side in sides}
        self._length = max(plan.batches for plan in plans.values())
        self.step = 0

    def __len__(self) -> int:
        """Steps an epoch."""
        return self._length

    def __iter__(self) -> Iterator[PairedBatch]:
        # Lightning leaves the iterator of an epoch unfinished, so where an epoch begins is told by the step alone.
        if all(isinstance(samples, Samples) for samples in self.sides.values()):
            draws = {side: self._gathered(side) for side in self.sides}
        else:
            draws = {side: self._worked(side) for side in self.sides}
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

    def _gathered(self, side: str):
        samples, plan = self.sides[side], self.plans[side]
        device = samples.label.device
        if device.type == "cpu":
            return lambda step: samples.rows(plan.batch(step))
        return lambda step: samples.rows(plan.batch(step).to(device, non_blocking=True))

    def _worked(self, side: str):
        samples, plan = self.sides[side], self.plans[side]
        if isinstance(samples, Samples):
            return self._gathered(side)
        remaining = range(self.step, self.step + self._length - self.step % self._length)
        batches = iter(
            DataLoader(
                samples,
                batch_sampler=_Batches(plan, remaining),
                collate_fn=_collate,
                num_workers=self.num_workers,
                pin_memory=torch.cuda.is_available(),
                # Of its own: a resumed run makes one loader more, and must not draw once more from the global one.
                generator=torch.Generator().manual_seed(plan.seed),
            )
        )
        return lambda step: next(batches)

    def state_dict(self) -> dict[str, int]:
        """The steps taken."""
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after the steps taken by the loader that gave `state`."""
        self.step = int(state["step"])


def _size(samples: Samples | Dataset) -> int:
    return samples.size if isinstance(samples, Samples) else len(samples)


class _Batches:
    def __init__(self, plan: BatchPlan, steps: range):
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
