"""A SLURM job that must end soon: its processes are told by SIGUSR1, save, and one of them queues the job again.

Lightning has such a handler of its own, which saves wherever the signal finds it: in the middle of a step, where the
loader has gone past a batch that the weights have not seen, and where the ranks wait in different collectives. Ours
only takes note; the run stops at the end of a batch (`stopping.StopWhenAsked`), from where it goes on bit for bit.

SIGTERM is told too (`told_of_sigterm`): by exit code 143 and a word, and a run that trains writes its checkpoint first.

This module imports no torch, so that a process listens from its first moments on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tl_research.errors import UserError

SIGNAL = signal.SIGUSR1
#: In the environment of a job: the seconds between the signal and its end.
NOTICE = "TL_RESEARCH_NOTICE"
NOTICE_SECONDS = 120
#: EX_TEMPFAIL: not done, not failed; the job goes on when it runs again.
EXIT_CODE = 75
#: What tells a process that it is one of several tasks.
RANK_VARIABLES = (
    "SLURM_NTASKS",
    "SLURM_NPROCS",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_NODEID",
    "SLURM_NNODES",
    "SLURM_NTASKS_PER_NODE",
    "SLURM_TASKS_PER_NODE",
    "SLURM_STEP_NUM_TASKS",
)


class Preempted(BaseException):
    """The machine is wanted back: the run is saved, and goes on when its job runs again. Nothing has failed."""


class Terminated(SystemExit):
    """SIGTERM has come. Nothing has failed: the same command goes on from the last checkpoint."""

    def __init__(self):
        # As a shell shows a process that a signal has ended.
        super().__init__(128 + signal.SIGTERM)


_asked = False
_ends_batch = False
_requeued: bool | None = None


def in_job() -> bool:
    """Whether this process belongs to a SLURM job."""
    return "SLURM_JOB_ID" in os.environ


def listen(*, requeues: bool = True) -> None:
    """Take note of SIGUSR1 from now on; nothing happens outside a SLURM job.

    Args:
        requeues: whether this process queues the job again at half of the notice where its run has not come to a stop
            by then, and goes on from an older checkpoint; a worker leaves it to its runner.
    """

    def take_note(signum, frame) -> None:
        global _asked
        if requeues and not _asked:
            late = threading.Timer(float(os.environ.get(NOTICE, NOTICE_SECONDS)) / 2, requeue)
            late.daemon = True
            late.start()
        _asked = True

    if in_job() and threading.current_thread() is threading.main_thread():
        signal.signal(SIGNAL, take_note)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {SIGNAL})


@contextmanager
def held_back() -> Iterator[None]:
    """Keep the signal from ending a process that is started within; it comes when that process calls `listen`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {SIGNAL})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {SIGNAL})


@contextmanager
def told_of_sigterm() -> Iterator[None]:
    """Make SIGTERM raise `Terminated` within, but where a run ends its batch first (`ending_batches`).

    Only in the main thread, and only where nobody else has said what SIGTERM does.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def end(signum, frame) -> None:
        global _ends_batch
        if not _ends_batch:
            raise Terminated
        _ends_batch = False  # the second one ends it at once

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def ending_batches(ends: bool) -> None:
    """Say that who trains sees SIGTERM itself, at the end of a batch, from now on; or not any longer."""
    global _ends_batch
    _ends_batch = ends


def is_asked_to_stop() -> bool:
    """Whether the signal has come."""
    return _asked


def stop_if_asked() -> None:
    """Raise `Preempted` where the signal has come: for whoever waits."""
    if _asked:
        raise Preempted


def job_id() -> str:
    """The job as `scontrol` and `squeue` name it: `12` or, of an array, `12_3`."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]


def requeue() -> bool:
    """Queue this process's job again, once, by its task 0; SLURM then ends what still runs of it.

    Returns:
        Whether it was done, here or by task 0; where it could not be, stderr says why.
    """
    global _requeued
    if _requeued is None and os.environ.get("SLURM_PROCID", "0") == "0":
        _requeued = True
        command = ["scontrol", "requeue", job_id()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            reason = "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = str(error)
        if reason:
            _requeued = False
            print(f"tl-research: {' '.join(command)}: {reason}; submit it again to go on", file=sys.stderr)
    return _requeued is not False


def refuse_ranks(what: str) -> None:
    """Refuse to be one of several tasks of a job step, or of several processes of torchrun.

    Raises:
        UserError: names the number of tasks.
    """
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
    if tasks > 1:
        raise UserError(f"{what}: started as {tasks} tasks of one job step, wants one (srun --ntasks=1)")
    tasks = int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1
    if tasks > 1:
        raise UserError(f"{what}: started by torchrun as {tasks} processes, wants one, without torchrun")


def leave_ranks() -> None:
    """Forget the job's tasks: the runs of this process are of one process each, whatever the job has."""
    for name in RANK_VARIABLES:
        os.environ.pop(name, None)
