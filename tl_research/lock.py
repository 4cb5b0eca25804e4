"""One process at a time in one run folder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

LOCK_FILE = ".lock"
_held: set[IO[str]] = set()


@contextmanager
def exclusive(folder: str | Path) -> Iterator[bool]:
    """Hold `folder/.lock`; yields False, at once, where another process holds it.

    The kernel lets go of it when the process ends, however it ends, so that a lock is never left behind. The
    file itself stays: removing it would let two processes lock two files of the same name.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    with open(Path(folder) / LOCK_FILE, "a") as file:
        # Twice, because `status` looks for an instant whether somebody holds it.
        if not (_taken(file) or time.sleep(0.02) or _taken(file)):
            yield False
            return
        _held.add(file)
        try:
            yield True
        finally:
            _held.discard(file)


def _taken(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _let_go() -> None:
    # A loader's process that outlives a killed run must not keep the run's folder.
    for file in _held:
        file.close()
    _held.clear()


os.register_at_fork(after_in_child=_let_go)
