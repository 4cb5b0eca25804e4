"""Where the runs of a folder are: from records, locks and checkpoints, and from SLURM's queue where there is one."""

from __future__ import annotations

import fcntl
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tl_research.errors import UserError
from tl_research.runs.record import RECORD_FILE, BrokenRecord, Record, check_owner, read_record
from tl_research.storage.lock import LOCK_FILE
from tl_research.storage.names import RESUME_FILE
from tl_research.suites.runner import share_of
from tl_research.suites.slurm import Queued, Submission, queue, submissions
from tl_research.suites.suite import Suite

STATES = ("done", "running", "queued", "failed")
#: Beside them, where a record cannot be read.
BROKEN = "broken"


@dataclass(frozen=True)
class RunState:
    """How far one run is, and why or where.

    The state is `done`, `running`, `queued` (not begun, or stopped half-way), `failed`, or `broken`: its record cannot
    be read.
    """

    run_id: str
    state: str
    what: str
    why: str = ""


def status(output: str | Path, suite: Suite | None = None) -> list[RunState]:
    """Return the state of every run of a suite, or of every run folder where no suite is given.

    Args:
        output: folder of the run folders.
        suite: from `load_suite`.

    Raises:
        UserError: there is no such folder.
    """
    output = Path(output)
    if not output.is_dir():
        raise UserError(f"{output}: there is no such folder")
    if suite is None:
        folders = sorted(path.parent for path in {*output.glob(f"*/{LOCK_FILE}"), *output.glob(f"*/{RECORD_FILE}")})
        return [_state(folder, None, "") for folder in dict.fromkeys(folders)]
    where = _places(suite, output)
    return [
        _state(output / cell.run_id, f"{cell.label}, {cell.task}, seed {cell.seed}", where.get(cell.run_id, ""))
        for cell in suite.cells(output)
    ]


def _state(folder: Path, what: str | None, place: str) -> RunState:
    try:
        record = read_record(folder)
        if record is not None:
            check_owner(folder, record)
    except BrokenRecord as error:
        return RunState(folder.name, BROKEN, what or "", str(error))
    what = _what(record) if what is None else what
    if record is not None and record.status == "ok":
        return RunState(folder.name, "done", what)
    if is_held(folder):
        return RunState(folder.name, "running", what, place)
    checkpoint, failure = _written(folder / RESUME_FILE), _written(folder / RECORD_FILE)
    if checkpoint > failure:
        return RunState(folder.name, "queued", what, "; ".join(filter(None, ["goes on from its checkpoint", place])))
    if record is not None:
        return RunState(folder.name, "failed", what, f"{record.status}: {record.message}")
    return RunState(folder.name, "queued", what, place)


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def is_held(folder: str | Path) -> bool:
    """Whether a process is at work in a run folder, on this machine or another one of the same file system."""
    try:
        with open(Path(folder) / LOCK_FILE) as file:
            # Shared, and for an instant: `exclusive` waits that long.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _what(record: Record | None) -> str:
    if record is None:
        return ""
    return f"{record.method}, {'+'.join(record.task['sources'])}->{record.task['target']}, seed {record.seed}"


def _places(suite: Suite, output: Path) -> dict[str, str]:
    """Which job has each run in its share, and what the queue says of that job."""
    notes = [note for note in submissions(output) if Path(note.suite) == Path(suite.path).resolve()]
    jobs = queue([note.job for note in notes]) if notes else None
    places: dict[str, str] = {}
    if jobs is None:
        return places
    cells = suite.cells(output)
    for note in notes:
        for i in range(1, note.shares + 1):
            job = jobs.get(f"{note.job}_{i}")
            if job is not None:
                for cell in share_of(cells, (i, note.shares)):
                    places[cell.run_id] = _place(job)
    return places


def _place(job: Queued) -> str:
    if job.state == "RUNNING":
        return f"job {job.job} runs on {job.reason} since {job.elapsed}"
    return f"job {job.job} {job.state} {job.reason}".strip()


def jobs_without_suite(output: str | Path) -> list[str]:
    """What the queue says of the single runs that were submitted into a folder."""
    notes: list[Submission] = [note for note in submissions(output) if not note.suite]
    jobs = queue([note.job for note in notes]) if notes else None
    return [_place(job) for job in (jobs or {}).values()]


def render(states: Sequence[RunState], *, details: int = 20) -> str:
    """Return the counts, and a line for each run that is not done; `details` limits the lines of a state."""
    counts = Counter(run.state for run in states)
    shown = (*STATES, BROKEN) if counts[BROKEN] else STATES
    lines = [f"{len(states)} runs: " + ", ".join(f"{counts[state]} {state}" for state in shown)]
    for state in shown[1:]:
        runs = [run for run in states if run.state == state]
        for run in runs[:details]:
            words = [run.run_id, *filter(None, [run.what and f"({run.what})"])]
            lines.append(f"{state:8s} {' '.join(words)}" + (f": {run.why}" if run.why else ""))
        if len(runs) > details:
            lines.append(f"{state:8s} and {len(runs) - details} more")
    return "\n".join(lines)
