"""How a run ends: with a record that says `ok`, or why it failed."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tl_research.errors import RunFailure, UserError
from tl_research.runs import crash
from tl_research.runs.failure import is_interruption, message_of, status_of, write_failed
from tl_research.runs.folder import AGAIN_FILE, is_of_writing, output_error
from tl_research.runs.record import RECORD_FILE, Record, check_owner, read_record, write_record
from tl_research.storage.checkpoints import damage_of, remove_resume
from tl_research.storage.files import version
from tl_research.storage.names import MODEL_FILE

_log = logging.getLogger(__name__)


def finished_record(folder: Path) -> Record | None:
    """Return the record of a run that is `ok` and has its weights; None where the run is to be carried out.

    Raises:
        BrokenRecord: the record cannot be read, or is of another run.
    """
    present = read_record(folder)
    if present is not None:
        check_owner(folder, present)
    if present is None or present.status != "ok":
        return None
    if (folder / MODEL_FILE).is_file() and not (folder / AGAIN_FILE).exists():
        return present
    _log.warning("%s: the weights of this finished run are gone; it is carried out again", folder / MODEL_FILE)
    (folder / AGAIN_FILE).touch()
    return None


def refuse_damaged_weights(folder: Path) -> None:
    """Raise `RunFailure` where the weights of a finished run are damaged; its record stays as it is."""
    damage = damage_of(folder / MODEL_FILE)
    if damage is not None:
        raise RunFailure(
            f"{folder / MODEL_FILE}: {damage}; the record of this finished run is whole and stays, and with the file "
            "removed the same command makes it again"
        )


@contextmanager
def recorded(folder: Path, record: Record, *, output: str, rank: int, is_task: bool) -> Iterator[None]:
    """Around a run: write its record at the end, `ok` or why it failed. An interruption leaves none.

    Args:
        folder: of the run.
        record: filled in within.
        output: folder of the runs, for messages.
        rank: of this process; 0 writes.
        is_task: whether srun or torchrun has started it among others: the first of them that fails writes.

    Raises:
        OutputError: the folder cannot be written.
        SystemExit: 1, in a process of several that failed after another one.
    """
    before, begun = version(folder / RECORD_FILE), time.monotonic()
    present = read_record(folder)
    replaces = present is not None and present.status == "ok"
    try:
        yield
    except BaseException as error:
        if is_interruption(error):
            raise
        crash.belongs_to(error, folder)
        is_lost = is_task and version(folder / RECORD_FILE) != before
        if is_lost and not isinstance(error, UserError):
            # Another process has said what went wrong; this one can only say that it is alone.
            raise SystemExit(1) from None
        if (rank == 0 or is_task) and not replaces:
            with _writing(output):
                write_failed(folder, record, status_of(error), message_of(error), time.monotonic() - begun)
        if isinstance(error, OSError) and is_of_writing(error, output):
            raise output_error(output, error) from None
        raise
    finally:
        # Trainer and module refer to each other: without this the data of one run outlive it, and a worker that
        # does hundreds of runs fills the memory.
        gc.collect()
    record.status, record.seconds = "ok", time.monotonic() - begun
    if rank == 0:
        with _writing(output):
            write_record(folder, record, replaces=replaces)
        remove_resume(folder)
        for name in (AGAIN_FILE, crash.ERROR_FILE):
            (folder / name).unlink(missing_ok=True)


@contextmanager
def _writing(output: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise output_error(output, error) from None
