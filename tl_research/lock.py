"""One process at a time in one run folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_FILE = ".lock"


@contextmanager
def exclusive(folder: str | Path) -> Iterator[bool]:
    """Hold `folder/.lock`; yields False, at once, where another process holds it.

    The kernel lets go of it when the process ends, however it ends, so that a lock is never left behind. The
    file itself stays: removing it would let two processes lock two files of the same name.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    with open(Path(folder) / LOCK_FILE, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
