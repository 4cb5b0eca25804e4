"""A process that ends with the one that started it. This module imports no torch: a process ends so from its start."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """Let the kernel end this process when its parent dies (Linux): a thread could not while C code holds the GIL.

    It ends before another process can take the run's lock.

    Args:
        parent: process id of the one that started this one; where it is gone already, this one exits at once.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the process that started this one has ended")
