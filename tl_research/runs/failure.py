"""What is said of a run that has not ended well, in the one place that writes its record.

This module imports no torch: the runner of a suite and its workers say it too.
"""

from __future__ import annotations

from pathlib import Path

from tl_research.errors import NonFiniteLoss, is_named, is_out_of_memory
from tl_research.parallel import preemption
from tl_research.runs.record import Record, write_record


def status_of(error: BaseException) -> str:
    """What a record says of a run that an error ended: `diverged`, `oom` or `failed`."""
    if isinstance(error, NonFiniteLoss):
        return "diverged"
    return "oom" if is_out_of_memory(error) else "failed"


def message_of(error: BaseException) -> str:
    """The first line of an error, for a record."""
    return f"{type(error).__name__}: {error}".split("\n")[0][:500]


def is_interruption(error: BaseException) -> bool:
    """Whether a run was interrupted and has not failed: its next start goes on from the resume checkpoint."""
    kinds = (KeyboardInterrupt, preemption.Preempted, preemption.Terminated)
    return isinstance(error, kinds) or is_named(error, "SIGTERMException")


def write_failed(folder: Path, record: Record, status: str, message: str, seconds: float) -> None:
    """Write the record of a run that has not ended well: the one place that does."""
    record.status, record.message, record.seconds, record.metrics = status, message, seconds, {}
    write_record(folder, record)
