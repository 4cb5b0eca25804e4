"""Two checkpoints per run: `resume.ckpt`, from which it goes on bit for bit, and `model.ckpt`, the selected weights.

While a run trains, the resume checkpoint before the last one lies beside it as `resume.previous.ckpt`: where the
last one is damaged, the run goes on from there. Every file is read as data only; one that carries code is refused.
"""

from __future__ import annotations

import errno
import logging
import os
import pickle
import re
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tl_research.errors import DataError, UserError, is_out_of_memory
from tl_research.storage.files import move_into_place
from tl_research.storage.names import MODEL_FILE, PREVIOUS_FILE, RESUME_FILE

MODEL_FORMAT = 1
#: What torch says of a pickle that asks for more than data.
_ASKS_FOR_CODE = re.compile(r".*(?:GLOBAL|[Uu]nsupported (?:global|class)|reduce).*")
#: What torch says where a file that it writes grows no further.
WRITING_FAILED = re.compile("unexpected pos|iostream error|Parent directory|PytorchStreamWriter failed")
_REMEDY = "with the file removed, the `fit` of this run makes it again"
#: What a model file holds beside its format, and its type; `KeepSelected` writes it.
_CONTENT = {"epoch": int, "model": dict, "config": dict, "outcome": dict, "transform": dict}
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
    damage = damage_of(path)
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


def damage_of(path: Path) -> str | None:
    """Say what is wrong with the archive that `torch.save` writes; torch itself does not look at the checksums.

    None: the file is whole.
    """
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


def reason_of(error: Exception) -> str:
    """Return the line of an error's message that says what is wrong, shortened to 160 characters."""
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
    for name in (RESUME_FILE, PREVIOUS_FILE, temporary_name(RESUME_FILE), temporary_name(MODEL_FILE)):
        (Path(folder) / name).unlink(missing_ok=True)


def temporary_name(name: str) -> str:
    """Return the name that a checkpoint has while it is written: its own, ending in `.tmp`."""
    return str(Path(name).with_suffix(".tmp"))


def unwritten(path: Path, weights: dict[str, torch.Tensor]) -> OSError:
    """The error of the file system that torch makes a RuntimeError of; it does not say which one it was."""
    if not path.parent.is_dir():
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    size = sum(value.numel() * value.element_size() for value in weights.values())
    # Beside the weights there are names, the configuration and the transform.
    code = errno.ENOSPC if shutil.disk_usage(path.parent).free < 2 * size + 2**20 else errno.EIO
    return OSError(code, os.strerror(code), str(path))


def write_model_file(folder: str | Path, content: dict[str, Any]) -> None:
    """Write `model.ckpt` of a run folder, whole or not at all.

    Args:
        folder: of the run.
        content: what `load_model_file` reads, of tensors, numbers, strings, lists and dicts only.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(folder) / MODEL_FILE
    temporary = path.with_name(temporary_name(MODEL_FILE))
    try:
        torch.save(content, temporary)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, RuntimeError) and WRITING_FAILED.search(str(error)):
            raise unwritten(path, content["model"]) from None
        raise
    move_into_place(temporary, path)


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
    if "outcome" not in content and isinstance(content.get("classes"), list):
        # Files of before there were outcomes say the classes, or the scale of a number.
        scale = content.get("label_scale")
        own = {"kind": "class", "classes": content["classes"]} if scale is None else {"kind": "regression", **scale}
        content["outcome"] = own
    for name, kind in _CONTENT.items():
        if not isinstance(content.get(name), kind):
            found = f"holds {type(content[name]).__name__}" if name in content else "is missing"
            raise DataError(f"{path}: {name} {found}, wants {kind.__name__}; {_REMEDY}")
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
        raise DataError(f"{path}: does not make a model ({kind}{reason_of(error)}); {_REMEDY}") from None


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
        reason = f"{type(error).__name__}: {reason_of(error)}"
        raise DataError(f"{path}: cannot be applied to these rows ({reason}); {_REMEDY}") from error


def refuse_nan(path: str | Path, module: torch.nn.Module) -> None:
    """Raise `DataError` where a weight is nan or infinite, which no run keeps."""
    for name, value in module.named_parameters():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise DataError(f"{path}: model.{name} holds nan or infinite weights; {_REMEDY}")
