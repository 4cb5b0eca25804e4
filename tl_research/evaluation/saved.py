"""What selection rules read of a model, kept per epoch: train once, score by every rule, also by later ones."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tl_research.errors import DataError
from tl_research.registry import RULES
from tl_research.storage.files import write_atomically

if TYPE_CHECKING:
    from torch import Tensor

#: Folder of a run, where `selection.save_outputs=true`.
OUTPUTS_FOLDER = "outputs"


def outputs_file(folder: str | Path, epoch: int) -> Path:
    """Return the file of an epoch in a run's folder."""
    return Path(folder) / OUTPUTS_FOLDER / f"epoch_{epoch:04d}.npz"


def save_outputs(path: Path, values: Mapping[str, Any]) -> None:
    """Write what rules read, one array per `<part>/<what>`; no label of the target is among it.

    Raises:
        OSError: the file cannot be written.
    """
    content = io.BytesIO()
    np.savez(content, **{read: np.asarray(value) for read, value in values.items()})
    write_atomically(path, content.getvalue())


def read_outputs(path: Path) -> dict[str, Tensor | np.ndarray]:
    """Return what `save_outputs` has written: tensors, but density ratios as arrays.

    Raises:
        DataError: the file is none of this kind.
    """
    import torch

    try:
        with np.load(path, allow_pickle=False) as file:
            values = {read: file[read] for read in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: no file of saved outputs ({type(error).__name__})") from None
    return {
        read: value if read.endswith("/density_ratio") else torch.from_numpy(value) for read, value in values.items()
    }


def scores_of(path: Path) -> dict[str, float]:
    """Return the score of every rule that can be scored from a file of saved outputs; higher is better.

    Raises:
        DataError: the file is none of this kind.
    """
    values, scores = read_outputs(path), {}
    for name, rule in RULES.items():
        if rule.reads_model and all(read in values for read in rule.reads):
            score = rule.function(*(values[read] for read in rule.reads))
            if score is not None:
                scores[name] = float(score)
    return scores


def saved_epochs(folder: str | Path) -> dict[int, Path]:
    """Return the files of a run's epochs, by epoch.

    Raises:
        DataError: there is none.
    """
    files = sorted(Path(folder, OUTPUTS_FOLDER).glob("epoch_*.npz"))
    if not files:
        raise DataError(f"{folder}: no saved outputs; run it with selection.save_outputs=true")
    return {int(path.stem.removeprefix("epoch_")): path for path in files}
