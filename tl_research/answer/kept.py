"""Resamples that are done, kept so that the same question goes on where it was interrupted."""

from __future__ import annotations

import json
from pathlib import Path

from tl_research.answer.measured import Item, Measured
from tl_research.storage.files import write_atomically

FOLDER = "resamples"


def keep(folder: Path, measured: Measured) -> None:
    """Write the figures of one resample below the folder of the answer."""
    write_atomically(_path(folder, measured.number, measured.size), json.dumps(measured.as_dict()) + "\n")


def kept(folder: Path, item: Item) -> Measured | None:
    """Return the figures of a resample that was kept; None where there are none, or none that can be read."""
    try:
        found = Measured(**json.loads(_path(folder, item.number, item.size).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return found if found.test == len(item.test) and found.train == len(item.train) else None


def _path(folder: Path, number: int, size: int | None) -> Path:
    return folder / FOLDER / f"{'all' if size is None else size}-{number}.json"
