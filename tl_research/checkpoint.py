"""Two files a run: `resume.ckpt`, from which it goes on bit for bit, and `model.ckpt`, the selected weights.

While a run trains, the resume checkpoint before the last one lies beside it as `resume.previous.ckpt`: where the
last one is damaged, the run goes on from there. Every file is read as data only; one that carries code is refused.
"""

from __future__ import annotations

import errno
import logging
import os
import pickle
import random
import re
import shutil
import time
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch

from tl_research.errors import DataError, RunFailure, UserError, is_out_of_memory
from tl_research.evaluation.selection import best_epoch
from tl_research.files import move_into_place
from tl_research.sharding import whole_state

RESUME_FILE = "resume.ckpt"
PREVIOUS_FILE = "resume.previous.ckpt"
MODEL_FILE = "model.ckpt"
MODEL_FORMAT = 1
#: What torch says of a pickle that asks for more than data.
_ASKS_FOR_CODE = re.compile(r".*(?:GLOBAL|[Uu]nsupported (?:global|class)|reduce).*")
#: What torch says where a file that it writes grows no further.
_WRITING_FAILED = re.compile("unexpected pos|iostream error|Parent directory|PytorchStreamWriter failed")
_REMEDY = "with the file removed, the `fit` of this run makes it again"
#: What a model file holds beside its format, and its type; `KeepSelected` writes it.
_CONTENT = {"epoch": int, "model": dict, "config": dict, "classes": list, "transform": dict}
_log = logging.getLogger(__name__)


class DamagedCheckpoint(DataError):
    """A checkpoint that is truncated, altered, or none at all."""


def read_checkpoint(path: str | Path) -> Any:
    """Read a file of `torch.save` on the CPU, as data only; nothing in it is executed.

    Raises:
        DamagedCheckpoint: it is truncated, its checksums do not fit, or it is no such file.
        DataError: it holds more than tensors, numbers, text and containers of them, which may be code.
    """
    path = Path(path)
    damage = _damage(path)
    try:
        with warnings.catch_warnings():
            # Of pickles that are none of ours; the error says it in one line.
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asks = _ASKS_FOR_CODE.search(str(error))
        if damage is None or asks is not None:
            raise DataError(
                f"{path}: refused, since it holds more than tensors, numbers and text and may carry code "
                f"({_shortened(asks[0] if asks else str(error))})"
            ) from None
        raise DamagedCheckpoint(f"{path}: {damage}") from None
    except Exception as error:
        raise DamagedCheckpoint(f"{path}: {damage or f'no readable checkpoint ({_shortened(str(error))})'}") from None
    if damage is not None:
        raise DamagedCheckpoint(f"{path}: {damage}")
    return content


def _damage(path: Path) -> str | None:
    """Say what is wrong with the archive that `torch.save` writes; torch itself does not look at the checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception:
        return f"the checkpoint is truncated, or it is none ({path.stat().st_size} bytes)"
    return None if wrong is None else f"the checkpoint is damaged (the checksum of its part {wrong} is wrong)"


def _shortened(text: str) -> str:
    return text.strip().split("\n")[0][:160]


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no message"]
    # torch's first line says only that something is wrong with the state.
    return _shortened(lines[1] if len(lines) > 1 and "loading state_dict" in lines[0] else lines[0])


def find_resume(folder: str | Path) -> Path | None:
    """Return the newest resume checkpoint of a run folder that can be read; None where a run starts over.

    One that is damaged is named in a warning, and the one before it is taken.

    Raises:
        DataError: one carries code.
    """
    for name in (RESUME_FILE, PREVIOUS_FILE):
        path = Path(folder) / name
        if not path.is_file():
            continue
        try:
            read_checkpoint(path)
        except DamagedCheckpoint as error:
            _log.warning("%s; going on from the one before it, or from the start where there is none", error)
            continue
        return path
    return None


def remove_resume(folder: str | Path) -> None:
    """Remove what only a run that has not ended needs."""
    for name in (RESUME_FILE, PREVIOUS_FILE, _temporary(RESUME_FILE), _temporary(MODEL_FILE)):
        (Path(folder) / name).unlink(missing_ok=True)


def _temporary(name: str) -> str:
    return str(Path(name).with_suffix(".tmp"))


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
            reason = f"{type(error).__name__}: {_reason(error)}"
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
        temporary = self.path.with_name(_temporary(RESUME_FILE))
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
            self.keep_last(trainer, pl_module)

    def keep_last(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Keep the weights as they are: where the rule has had no score in any epoch."""
        self._keep(trainer, module, self.evaluator.history[-1]["epoch"])

    def _keep(self, trainer: L.Trainer, module: L.LightningModule, epoch: int) -> None:
        self.kept_epoch = epoch
        weights = whole_state(module)
        if trainer.is_global_zero:
            weights = {name: value.detach().cpu() for name, value in weights.items()}
            content = {"format": MODEL_FORMAT, "epoch": epoch, "model": weights, **self.extra}
            temporary = self.path.with_name(_temporary(MODEL_FILE))
            try:
                torch.save(content, temporary)
            except BaseException as error:
                temporary.unlink(missing_ok=True)
                if isinstance(error, RuntimeError) and _WRITING_FAILED.search(str(error)):
                    raise _unwritten(self.path, weights) from None
                raise
            move_into_place(temporary, self.path)


def _unwritten(path: Path, weights: dict[str, torch.Tensor]) -> OSError:
    """The error of the file system that torch makes a RuntimeError of; it does not say which one it was."""
    if not path.parent.is_dir():
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    size = sum(value.numel() * value.element_size() for value in weights.values())
    # Beside the weights there are names, the configuration and the transform.
    code = errno.ENOSPC if shutil.disk_usage(path.parent).free < 2 * size + 2**20 else errno.EIO
    return OSError(code, os.strerror(code), str(path))


def load_model_file(folder: str | Path) -> dict[str, Any]:
    """Read `model.ckpt` of a run folder, as data only: a file that carries code is refused.

    Raises:
        DataError: there is none, or it is truncated, of another format, or lacks what `KeepSelected` writes.
    """
    path = Path(folder) / MODEL_FILE
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; is {folder} the folder of a finished run?")
    try:
        content = read_checkpoint(path)
    except DataError as error:
        raise type(error)(f"{error}; {_REMEDY}") from None
    number = content.get("format") if isinstance(content, dict) else None
    if not isinstance(number, int) or number != MODEL_FORMAT:
        raise DataError(f"{path}: not a model file of format {MODEL_FORMAT}; {_REMEDY}")
    for name, kind in _CONTENT.items():
        if not isinstance(content.get(name), kind):
            found = f"holds {type(content[name]).__name__}" if name in content else "is missing"
            raise DataError(f"{path}: {name} {found}, wants {kind.__name__}; {_REMEDY}")
    if not all(isinstance(name, str) for name in content["classes"]):
        raise DataError(f"{path}: classes are not all names; {_REMEDY}")
    for name, value in content["model"].items():
        if not isinstance(value, torch.Tensor):
            raise DataError(f"{path}: model.{name} holds {type(value).__name__}, wants a tensor; {_REMEDY}")
    return content


@contextmanager
def fitting(path: str | Path) -> Iterator[None]:
    """Turn what goes wrong within, where the content of a model file is put to use, into one error that names it.

    Raises:
        DataError: names the file and the first line of what went wrong.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        raise DataError(f"{path}: does not make a model ({kind}{_reason(error)}); {_REMEDY}") from None


@contextmanager
def applying(path: str | Path | None) -> Iterator[None]:
    """Around the use of a model on rows: an error that is not of the rows is of the model's file.

    Raises:
        DataError: names the file; the error itself is its cause.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (UserError, OSError)) or is_out_of_memory(error):
            raise
        reason = f"{type(error).__name__}: {_reason(error)}"
        raise DataError(f"{path}: cannot be applied to these rows ({reason}); {_REMEDY}") from error


def refuse_nan(path: str | Path, module: torch.nn.Module) -> None:
    """Raise `DataError` where a weight is nan or infinite, which no run keeps."""
    for name, value in module.named_parameters():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise DataError(f"{path}: model.{name} holds nan or infinite weights; {_REMEDY}")
