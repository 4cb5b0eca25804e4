"""A worker process: carries out one run after another for the runner, so that imports are paid once.

It reads jobs as JSON lines from one pipe and answers in JSON lines on another; its stdout and stderr go to the
log of the run, so that whatever a library prints cannot be mistaken for an answer. The job pipe's end means that
the runner is gone or wants no more: the worker then ends at once, in the middle of a run too. Nothing is lost,
because what is finished is in its record and the rest goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tl_research.parallel import preemption
from tl_research.parallel.parent import end_with_parent
from tl_research.runs.failure import is_interruption, message_of, status_of, write_failed
from tl_research.runs.record import RECORD_FILE, BrokenRecord, Record, check_owner, read_record
from tl_research.storage.files import remove_leftovers, version
from tl_research.storage.lock import exclusive

LOG_FILE = "log.txt"
ELSEWHERE = "elsewhere"
UNWRITABLE = "unwritable"
#: The scheduler has stopped the run, which has no record of it and goes on at the next start.
INTERRUPTED = "interrupted"
#: The record in the run's folder cannot be read.
BROKEN = "broken"


def run_experiment(tree: dict[str, Any], *, suite: str = "") -> None:
    """Carry out one run of a composed configuration, given as a nested mapping."""
    import torch

    from tl_research.config import compose
    from tl_research.runs.experiment import run

    # A run with trainer.threads of its own must not set those of the runs after it.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    run(compose(tree), suite=suite)


def main(argv: list[str] | None = None) -> int:
    """Carry out jobs until there are no more: one line of JSON comes in per job, one goes out per answer.

    Args:
        argv: words of the command line; None: those of the process.

    Returns:
        Exit code 0; what a job raises is in its answer or in its run's record.
    """
    parser = argparse.ArgumentParser(prog="python -m tl_research.suites.worker")
    parser.add_argument("--run", required=True, help="module:function")
    parser.add_argument("--jobs-fd", type=int, required=True)
    parser.add_argument("--answers-fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    arguments = parser.parse_args(argv)
    preemption.listen(requeues=False)
    preemption.leave_ranks()
    end_with_parent(arguments.parent)
    for fd in (arguments.jobs_fd, arguments.answers_fd):
        os.set_inheritable(fd, False)
    jobs = _Jobs(arguments.jobs_fd)
    with open(arguments.answers_fd, "w", buffering=1, encoding="utf-8") as answers:
        module, _, name = arguments.run.partition(":")
        function = getattr(importlib.import_module(module), name)
        getattr(function, "warm_up", lambda: None)()
        print(json.dumps({"ready": True}), file=answers)
        while (job := jobs.next()) is not None:
            answer = {"run_id": job["record"]["run_id"]}
            try:
                answer["status"] = carry_out(function, job)
            except OSError as error:
                answer |= {"status": UNWRITABLE, "message": str(error)}
            except BrokenRecord as error:
                answer |= {"status": BROKEN, "message": str(error)}
            jobs.done()
            print(json.dumps(answer), file=answers)
    return 0


def _warm_up() -> None:
    from tl_research.registry import DATASETS, ENCODERS, METHODS

    importlib.import_module("tl_research.runs.experiment")
    for registry in (DATASETS, ENCODERS, METHODS):
        registry.discover()


# Imports are paid before the first run, whose time counts.
run_experiment.warm_up = _warm_up


def carry_out(function: Callable[..., Any], job: dict[str, Any]) -> str:
    """Carry out one job under its lock; return the status of its record, `elsewhere` or `interrupted`.

    Raises:
        OSError: lock, log or record cannot be written (a full disk, a read-only folder).
    """
    folder = Path(job["folder"])
    if preemption.is_asked_to_stop():
        return INTERRUPTED
    with exclusive(folder) as mine:
        if not mine:
            return ELSEWHERE
        if is_finished(folder):
            return "ok"
        remove_leftovers(folder)
        before = version(folder / RECORD_FILE)
        begun = time.monotonic()
        with _output_to(folder / LOG_FILE):
            try:
                function(job["record"]["config"], suite=job["record"]["task"]["suite"])
                status, message = "failed", "the run returned without a record"
            except (Exception, SystemExit, preemption.Preempted) as error:
                if is_interruption(error):
                    return INTERRUPTED
                traceback.print_exc()
                status, message = status_of(error), message_of(error)
        if version(folder / RECORD_FILE) == before:
            # The run did not say itself how it ended.
            write_failed(folder, Record(**job["record"]), status, message, time.monotonic() - begun)
        return read_record(folder).status


def is_finished(folder: str | Path) -> bool:
    """Whether the run's record says `ok`.

    Raises:
        BrokenRecord: it cannot be read, or is of another run.
    """
    record = read_record(folder)
    if record is not None:
        check_owner(folder, record)
    return record is not None and record.status == "ok"


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Append stdout and stderr to a file, those of libraries and child processes too."""
    kept = [os.dup(1), os.dup(2)]
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        for fd in (1, 2):
            os.dup2(log, fd)
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            # Where the disk is full; whoever writes the record next says so.
            with suppress(OSError):
                stream.flush()
        for fd, old in zip((1, 2), kept, strict=True):
            os.dup2(old, fd)
            os.close(old)
        os.close(log)


class _Jobs:
    """Jobs from the pipe; its end ends the process, in the middle of a run at once."""

    def __init__(self, fd: int):
        self._waiting: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._busy = threading.Lock()
        threading.Thread(target=self._read, args=(fd,), daemon=True).start()

    def next(self) -> dict[str, Any] | None:
        return self._waiting.get()

    def done(self) -> None:
        self._busy.release()

    def _read(self, fd: int) -> None:
        with open(fd, encoding="utf-8") as pipe:
            for line in pipe:
                self._busy.acquire()
                self._waiting.put(json.loads(line))
        if self._busy.locked():
            if os.getpgrp() == os.getpid():
                # The runner gives a worker a group of its own: this ends the run's loaders and nothing else.
                os.killpg(0, signal.SIGKILL)
            os._exit(1)
        self._waiting.put(None)


if __name__ == "__main__":
    sys.exit(main())
