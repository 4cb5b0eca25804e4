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
#: How long `status` may be kept from letting go of what it looked at, on a busy machine.
LOOK_SECONDS = 2.0
_held: set[IO[str]] = set()


@contextmanager
def exclusive(folder: str | Path) -> Iterator[bool]:
    """Hold `folder/.lock`; yields False, at once, where another process holds it.

    The kernel lets go of it when the process ends, however it ends, so that a lock is never left behind. The
    file itself stays: removing it would let two processes lock two files of the same name.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    with open(Path(folder) / LOCK_FILE, "a+") as file:
        end = time.monotonic() + LOOK_SECONDS
        while not _taken(file):
            # `status` shares it for an instant, to see whether somebody holds it; who holds it does not share it.
            if not _taken(file, fcntl.LOCK_SH) or time.monotonic() > end:
                yield False
                return
            fcntl.flock(file, fcntl.LOCK_UN)
            time.sleep(0.005)
        _held.add(file)
        try:
            yield True
        finally:
            _held.discard(file)


def _taken(file: IO[str], kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _let_go() -> None:
    # A loader's process that outlives a killed run must not keep the run's folder.
    for file in _held:
        file.close()
    _held.clear()


os.register_at_fork(after_in_child=_let_go)
