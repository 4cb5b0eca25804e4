"""Two processes as ranks, forked from one that has imported the package once: each that is spawned imports it anew."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable

import torch.multiprocessing as mp

#: What every rank's module imports, and what takes all of its time; the process that has it runs nothing.
PRELOADED = "tl_research.runs.experiment"


def run_two_ranks(function: Callable[..., None], *arguments) -> None:
    """Call `function(rank, *arguments)` in two new processes, and wait for them.

    They have the environment that this process had at the first call. One that fails ends the other and the test.
    """
    multiprocessing.set_forkserver_preload([PRELOADED])
    mp.start_processes(function, args=arguments, nprocs=2, start_method="forkserver")
