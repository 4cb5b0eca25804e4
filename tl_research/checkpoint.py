"""Two files a run: `resume.ckpt`, from which it goes on bit for bit, and `model.ckpt`, the selected weights."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch

from tl_research.errors import DataError
from tl_research.evaluation.selection import best_epoch

RESUME_FILE = "resume.ckpt"
MODEL_FILE = "model.ckpt"
MODEL_FORMAT = 1


class RandomState(L.Callback):
    """Keeps the generators of torch, CUDA, numpy and Python in the checkpoint; Lightning does not."""

    def __init__(self):
        self._pending: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        kind, keys, *rest = np.random.get_state()  # noqa: NPY002 (the global state is what is kept)
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), *rest],
            "python": random.getstate(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._pending = state

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        # Restored just before the first resumed batch: whatever Lightning draws while it starts is undone.
        if self._pending is None:
            return
        state, self._pending = self._pending, None
        torch.set_rng_state(state["torch"])
        if state["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda"])
        kind, keys, *rest = state["numpy"]
        np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
        version, internal, gauss = state["python"]
        random.setstate((version, tuple(internal), gauss))


class ResumeCheckpoint(L.Callback):
    """Writes `resume.ckpt` every n steps or every so many seconds, and replaces the old one atomically.

    Never after the last batch of an epoch: there it waits until the epoch has been measured, so that a resumed
    run neither leaves a measurement out nor makes it twice.
    """

    def __init__(self, folder: Path, *, every_n_steps: int | None, every_seconds: float | None):
        self.path = Path(folder) / RESUME_FILE
        self.every_n_steps, self.every_seconds = every_n_steps, every_seconds
        self._batches = 0
        self._saved_at = time.monotonic()
        self._waiting = False

    def on_train_batch_end(self, trainer: L.Trainer, pl_module, outputs, batch, batch_idx) -> None:
        self._batches += 1
        due = self.every_n_steps is not None and self._batches % self.every_n_steps == 0
        # The clock is read on rank 0 alone, and rarely, since all ranks must agree.
        if not due and self.every_seconds is not None and (trainer.world_size == 1 or self._batches % 50 == 0):
            due = time.monotonic() - self._saved_at >= self.every_seconds
            if trainer.world_size > 1:
                due = trainer.strategy.broadcast(due)
        if due and trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._waiting = True
        elif due:
            self.save(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module) -> None:
        if self._waiting:
            self.save(trainer)

    def save(self, trainer: L.Trainer) -> None:
        temporary = self.path.with_suffix(".tmp")
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            os.replace(temporary, self.path)
        self._saved_at = time.monotonic()
        self._waiting = False


class KeepSelected(L.Callback):
    """Writes `model.ckpt` whenever the selection rule picks the epoch that has just been measured.

    Args:
        folder: the run's folder.
        evaluator: whose history the rule reads.
        rule: a realistic rule; `oracle` is refused.
        metric: of the rules that read a metric.
        extra: what prediction needs beside the weights, of tensors, numbers, strings, lists and dicts only.
    """

    def __init__(self, folder: Path, evaluator, *, rule: str, metric: str, extra: dict[str, Any]):
        if rule == "oracle":
            raise ValueError("the kept checkpoint must not depend on target test labels")
        self.path = Path(folder) / MODEL_FILE
        self.evaluator, self.rule, self.metric, self.extra = evaluator, rule, metric, extra
        self.kept_epoch: int | None = None

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.rule != "last" and best_epoch(self.evaluator.history, self.rule, self.metric) == trainer.current_epoch:
            self._keep(trainer, pl_module, trainer.current_epoch)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.rule == "last":
            self._keep(trainer, pl_module, self.evaluator.history[-1]["epoch"])

    def _keep(self, trainer: L.Trainer, module: L.LightningModule, epoch: int) -> None:
        self.kept_epoch = epoch
        if trainer.is_global_zero:
            weights = {name: value.detach().cpu() for name, value in module.state_dict().items()}
            content = {"format": MODEL_FORMAT, "epoch": epoch, "model": weights, **self.extra}
            temporary = self.path.with_suffix(".tmp")
            torch.save(content, temporary)
            os.replace(temporary, self.path)


def load_model_file(folder: str | Path) -> dict[str, Any]:
    """Read `model.ckpt` of a run folder, as data only: a file that carries code is refused.

    Raises:
        DataError: there is none, or it is truncated or of another format.
    """
    path = Path(folder) / MODEL_FILE
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; is {folder} the folder of a finished run?")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataError(f"{path}: not a readable checkpoint ({type(error).__name__})") from error
    if not isinstance(content, dict) or content.get("format") != MODEL_FORMAT:
        raise DataError(f"{path}: not a model file of format {MODEL_FORMAT}")
    return content
