"""When a run writes its resume checkpoint, and how it takes one up."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L

from tl_research.errors import DataError, RunFailure, UserError, is_out_of_memory
from tl_research.storage.checkpoints import reason_of, temporary_name
from tl_research.storage.files import move_into_place
from tl_research.storage.names import PREVIOUS_FILE, RESUME_FILE


class TakeUp(L.Callback):
    """Tells what goes wrong while a run takes up its resume checkpoint from what goes wrong in training.

    Stands behind the callbacks that have a state of their own.
    """

    def __init__(self, checkpoint: Path | None):
        self.checkpoint, self.is_done, self._is_checked = checkpoint, False, False

    def on_load_checkpoint(self, trainer, pl_module, checkpoint: dict[str, Any]) -> None:
        for name, kind in (("loops", dict), ("state_dict", dict), ("optimizer_states", list), ("global_step", int)):
            if not isinstance(checkpoint.get(name), kind):
                raise TypeError(f"{name} is missing or no {kind.__name__}")
        self._is_checked = True

    def on_train_start(self, trainer, pl_module) -> None:
        if self.checkpoint is not None and not self._is_checked:
            # Lightning passes over a checkpoint without states of callbacks.
            raise TypeError("the states of the callbacks are missing")

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.is_done = True

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Around the fit.

        Raises:
            DataError: the checkpoint is of another run or altered; names its file.
        """
        try:
            yield
        except Exception as error:
            is_known = isinstance(error, (UserError, RunFailure, OSError)) or is_out_of_memory(error)
            if self.checkpoint is None or self.is_done or is_known:
                raise
            way_out = "remove it and the run goes on from the one before it, or starts over"
            reason = f"{type(error).__name__}: {reason_of(error)}"
            raise DataError(f"{self.checkpoint}: does not fit this run ({reason}); {way_out}") from None


class ResumeCheckpoint(L.Callback):
    """Writes `resume.ckpt` every n steps or every so many seconds; the one before it becomes `resume.previous.ckpt`.

    At any moment one of the two is whole.

    Never after the last batch of an epoch: there it waits until the epoch has been measured, so that a resumed
    run neither leaves a measurement out nor makes it twice. And never in the middle of an accumulated gradient,
    which a checkpoint does not hold.
    """

    def __init__(self, folder: Path, *, every_n_steps: int | None, every_seconds: float | None):
        self.path = Path(folder) / RESUME_FILE
        self.every_n_steps, self.every_seconds = every_n_steps, every_seconds
        self._batches = 0
        self._saved_at = time.monotonic()
        self._waiting = False
        self._is_whole = False  # what lies at `path`, as far as is known

    def on_fit_start(self, trainer: L.Trainer, pl_module) -> None:
        # One that was too damaged to go on from must not take the place of the one before it.
        self._is_whole = trainer.ckpt_path is not None and Path(trainer.ckpt_path) == self.path

    def on_train_batch_end(self, trainer: L.Trainer, pl_module, outputs, batch, batch_idx) -> None:
        self._batches += 1
        due = self.every_n_steps is not None and self._batches % self.every_n_steps == 0
        # The clock is read on rank 0 alone, and rarely, since all ranks must agree.
        if not due and self.every_seconds is not None and (trainer.world_size == 1 or self._batches % 50 == 0):
            due = time.monotonic() - self._saved_at >= self.every_seconds
            if trainer.world_size > 1:
                due = trainer.strategy.broadcast(due)
        self._waiting = self._waiting or due
        accumulates = (batch_idx + 1) % trainer.accumulate_grad_batches != 0
        if self._waiting and not accumulates and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self.save(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module) -> None:
        if self._waiting:
            self.save(trainer)

    def save(self, trainer: L.Trainer) -> None:
        """Write the checkpoint whole, or leave the last one as it is; every rank must call it."""
        temporary = self.path.with_name(temporary_name(RESUME_FILE))
        try:
            trainer.save_checkpoint(temporary)
        except BaseException:
            # On a full disk the part that did fit must not stay.
            temporary.unlink(missing_ok=True)
            raise
        if trainer.is_global_zero:
            if self._is_whole:
                os.replace(self.path, self.path.with_name(PREVIOUS_FILE))
            move_into_place(temporary, self.path)
        self._is_whole = True
        self._saved_at = time.monotonic()
        self._waiting = False
