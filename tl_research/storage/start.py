"""Weights that a run begins with: a file of another run, or none."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tl_research.errors import ConfigError
from tl_research.storage.names import MODEL_FILE

#: Values of `method.start` that are no path: the source stage is trained in this fit, or in a run of its own.
WITHOUT_FILE = ("phases", "cached")


def start_content(start: str) -> str:
    """Return what names a starting point in a `run_id`: the SHA-256 of its file, or the word itself where it has none.

    Raises:
        ConfigError: there is no such file.
    """
    if start in WITHOUT_FILE:
        return start
    path = start_folder(start) / MODEL_FILE
    if not path.is_file():
        raise ConfigError(f"method.start: {path}: there is no such file; wants phases, cached, or a run's folder")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def start_folder(start: str) -> Path:
    """Return the run's folder that `start` names, by its own path or by that of its model file."""
    path = Path(start)
    return path.parent if path.name == MODEL_FILE else path
