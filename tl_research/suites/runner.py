"""Carry out the runs of a suite in worker processes; a run that crashes costs that run alone.

Records are the only state. A start skips the runs whose record is `ok` and does the others, so the same command
goes on after Ctrl-C, kill -9 or a power cut, and two runners may share one folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import tl_research
from tl_research.config import check
from tl_research.errors import OutputError, RunFailure
from tl_research.parallel import preemption
from tl_research.registry import METHODS
from tl_research.runs.failure import write_failed
from tl_research.runs.record import BrokenRecord, Record, blank_record, read_record
from tl_research.storage.lock import exclusive
from tl_research.storage.names import PREVIOUS_FILE, RESUME_FILE
from tl_research.suites.progress import Progress
from tl_research.suites.suite import Cell, Suite
from tl_research.suites.worker import BROKEN, ELSEWHERE, INTERRUPTED, LOG_FILE, UNWRITABLE, is_finished

DEFAULT_RUN = "tl_research.suites.worker:run_experiment"
POLL_SECONDS = 0.2
STARTS_IN_VAIN = 3
#: What `carry_out` of the pool says of a run that it tries again.
AGAIN = "again"


class WorkerError(RunFailure):
    """Workers end before they take a run; the message has the last line they printed."""


@dataclass
class Summary:
    """How the runs of a suite ended: now (`ok`, `failed` by status), before (`skipped`), in another runner, or not.

    `left` are those that were stopped or have not begun; `broken` those that were left alone because the record in
    their folder cannot be read: it may be of a finished run.
    """

    ok: int = 0
    skipped: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    interrupted: bool = False
    elsewhere: int = 0
    left: int = 0
    broken: int = 0


def run_suite(
    suite: Suite,
    *,
    jobs: int = 2,
    output: str | Path = "runs",
    timeout: float | None = None,
    run: str = DEFAULT_RUN,
    threads_per_job: int = 1,
    share: tuple[int, int] | None = None,
) -> Summary:
    """Carry out every run of a suite that has no `ok` record yet.

    Args:
        suite: from `load_suite`.
        jobs: worker processes.
        output: folder of the run folders.
        timeout: seconds after which a run is ended and recorded as `timeout`; None for no limit.
        run: `module:function` that a worker calls as `function(config, suite=name)`, with the resolved
            configuration as a nested mapping. It writes the run's record; where it does not, the worker does.
        threads_per_job: CPU threads of a worker.
        share: (i, n), i from 1: only the i-th of n shares of the runs; None for all.

    Returns:
        Counts; `interrupted` is True after Ctrl-C.

    Raises:
        ConfigError: a cell of the suite is wrong; nothing has run.
        WorkerError: no worker can be started.
        OutputError: `output` cannot be written, or not any longer; the workers have ended.
    """
    check(jobs >= 1, "jobs", jobs, "at least 1")
    check(threads_per_job >= 1, "threads_per_job", threads_per_job, "at least 1")
    check(timeout is None or timeout > 0, "timeout", timeout, "a number of seconds above 0")
    cells = share_of(suite.cells(output), share)
    waiting, unreadable = _begin_with(cells, Path(output))
    summary = Summary(skipped=len(cells) - len(waiting) - len(unreadable))
    if waiting:
        _try_to_write(Path(output))
    pool = _Pool(suite.name, Path(output), run=run, threads=threads_per_job, timeout=timeout)
    with Progress(suite.name, total=len(cells), done=summary.skipped) as progress:
        for cell, message in unreadable:
            summary.broken += 1
            progress.advance(cell, BROKEN, message)
        try:
            for cell, status, message in pool.carry_out(waiting, jobs):
                if status == AGAIN:
                    progress.note(cell, status, message)
                    continue
                _count(summary, status)
                progress.advance(cell, status, message)
        except KeyboardInterrupt:
            summary.interrupted = True
        finally:
            pool.close()
        ended = summary.skipped + summary.ok + summary.elsewhere + summary.broken + sum(summary.failed.values())
        summary.left = len(cells) - ended
        progress.finish(summary)
    return summary


def share_of(cells: Sequence[Cell], share: tuple[int, int] | None) -> list[Cell]:
    """Return the i-th of n shares of the runs, by their order alone, so that every run is in exactly one share.

    Raises:
        ConfigError: i is not within 1..n.
    """
    if share is None:
        return list(cells)
    i, n = share
    check(1 <= i <= n, "share", f"{i}/{n}", "i/n with 1 <= i <= n")
    # Every n-th, because neighbours in the grid are alike in cost.
    return list(cells[i - 1 :: n])


def _begin_with(cells: Sequence[Cell], output: Path) -> tuple[deque[Cell], list[tuple[Cell, str]]]:
    """The runs that have no `ok` record, and those whose record cannot be read, with the reason."""
    waiting, unreadable = deque(), []
    for cell in cells:
        try:
            if not is_finished(output / cell.run_id):
                waiting.append(cell)
        except BrokenRecord as error:
            unreadable.append((cell, str(error)))
    return waiting, unreadable


def _count(summary: Summary, status: str) -> None:
    if status == "ok":
        summary.ok += 1
    elif status == BROKEN:
        summary.broken += 1
    elif status == ELSEWHERE:
        summary.elsewhere += 1
    elif status != INTERRUPTED:
        summary.failed[status] = summary.failed.get(status, 0) + 1


class _Pool:
    """The workers and what each of them is doing."""

    def __init__(self, suite: str, output: Path, *, run: str, threads: int, timeout: float | None):
        self.suite, self.output, self.timeout = suite, output, timeout
        self._start = lambda: _Worker(run, threads)
        self._workers: list[_Worker] = []
        self._vain = 0
        self._tried_again: set[str] = set()

    def carry_out(self, waiting: deque[Cell], jobs: int):
        """Yield (cell, status, message) as runs end, or are tried again."""
        while waiting or any(worker.cell for worker in self._workers):
            if preemption.is_asked_to_stop():
                waiting.clear()
            busy = sum(worker.cell is not None for worker in self._workers)
            while len(self._workers) < min(jobs, busy + len(waiting)):
                self._workers.append(self._start())
            _wait_for(self._workers)
            for worker in list(self._workers):
                # Asked first: all that it has answered before its death is then in the pipe.
                has_died = worker.has_died
                for answer in worker.answers():
                    if "ready" in answer:
                        self._vain = 0
                        continue
                    if answer["status"] == UNWRITABLE:
                        raise OutputError(self.output, answer["message"])
                    cell, worker.cell = worker.cell, None
                    yield cell, answer["status"], answer.get("message") or self._message(cell, answer["status"])
                    if answer["status"] == "oom":
                        # What the run has left behind must not starve the next one.
                        self._drop(worker)
                ended = self._ended(worker, has_died)
                if ended is not None:
                    if ended[1] == AGAIN:
                        waiting.appendleft(ended[0])
                    yield ended
                elif worker.ready and worker.cell is None and waiting and worker in self._workers:
                    worker.hand_out(cell := waiting.popleft(), self._job(cell))

    def _ended(self, worker: _Worker, has_died: bool) -> tuple[Cell, str, str] | None:
        """Record the run of a worker that has died or is past its time; None where it goes on."""
        late = self.timeout is not None and worker.cell is not None and worker.seconds > self.timeout
        if worker not in self._workers or not (late or has_died):
            return None
        if worker.cell is None and not worker.ready:
            self._vain += 1
            if self._vain >= STARTS_IN_VAIN:
                raise WorkerError(f"workers end before their first run: {worker.last_words()}")
        cell, seconds = worker.cell, worker.seconds
        self._drop(worker)
        if cell is None:
            return None
        if late:
            status, message = "timeout", f"ended after {self.timeout:g} s"
        else:
            status, message = worker.cause_of_death(self._folder(cell) / LOG_FILE)
            if status != "oom" and worker.was_killed and self._may_go_on(cell):
                self._tried_again.add(cell.run_id)
                return cell, AGAIN, f"{message}; it goes on from its checkpoint"
        try:
            return cell, self._record(cell, status, message, seconds), message
        except OSError as error:
            raise OutputError(self.output, error) from None

    def _may_go_on(self, cell: Cell) -> bool:
        """Whether a run that was killed is tried again: once, and only from a checkpoint."""
        has_checkpoint = any((self._folder(cell) / name).is_file() for name in (RESUME_FILE, PREVIOUS_FILE))
        return has_checkpoint and cell.run_id not in self._tried_again

    def _record(self, cell: Cell, status: str, message: str, seconds: float) -> str:
        folder = self._folder(cell)
        with exclusive(folder) as mine:
            if not mine:
                # Another runner has taken the run up since.
                return ELSEWHERE
            if is_finished(folder):
                return "ok"
            write_failed(folder, _blank_record(cell, self.suite), status, message, seconds)
        return status

    def _message(self, cell: Cell, status: str) -> str:
        if status in ("ok", ELSEWHERE, INTERRUPTED):
            return ""
        return read_record(self._folder(cell)).message

    def _folder(self, cell: Cell) -> Path:
        return self.output / cell.run_id

    def _job(self, cell: Cell) -> dict[str, Any]:
        return {"folder": str(self._folder(cell)), "record": asdict(_blank_record(cell, self.suite))}

    def _drop(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.kill()

    def close(self) -> None:
        """End all workers: busy ones at once, idle ones in their own time."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.close()


class _Worker:
    """One worker process, as the runner sees it."""

    def __init__(self, run: str, threads: int):
        self.cell: Cell | None = None
        self.ready = False
        self._since = time.monotonic()
        self._buffer = b""
        self._oom_kills = 0
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the process)
        jobs_out, self._jobs = os.pipe()
        self.pipe, answers_in = os.pipe()
        os.set_blocking(self.pipe, False)
        command = [sys.executable, "-P", "-u", "-X", "faulthandler", "-m", "tl_research.suites.worker", "--run", run]
        command += [f"--jobs-fd={jobs_out}", f"--answers-fd={answers_in}", f"--parent={os.getpid()}"]
        with preemption.held_back():
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._words,
                stderr=self._words,
                pass_fds=(jobs_out, answers_in),
                env=_environment(threads),
                start_new_session=True,  # Ctrl-C at a terminal reaches the runner alone
            )
        os.close(jobs_out)
        os.close(answers_in)

    def answers(self) -> list[dict[str, Any]]:
        """Return what the worker has answered since the last call."""
        while True:
            try:
                part = os.read(self.pipe, 65536)
            except BlockingIOError:
                break
            if not part:
                break
            self._buffer += part
        *lines, self._buffer = self._buffer.split(b"\n")
        answers = [json.loads(line) for line in lines]
        self.ready |= bool(answers)
        return answers

    def hand_out(self, cell: Cell, job: dict[str, Any]) -> None:
        self.cell, self._since, self._oom_kills = cell, time.monotonic(), _oom_kills()
        data = (json.dumps(job) + "\n").encode()
        try:
            while data:
                data = data[os.write(self._jobs, data) :]
        except BrokenPipeError:
            # It has just died; the next look at it records so.
            pass

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._since

    @property
    def has_died(self) -> bool:
        return self._process.poll() is not None

    @property
    def was_killed(self) -> bool:
        """Whether a signal has ended it."""
        return (self._process.returncode or 0) < 0

    def cause_of_death(self, log: Path) -> tuple[str, str]:
        """Status and message of the run that the worker died in."""
        code = self._process.returncode
        if code >= 0:
            return "failed", f"the process ended with exit code {code}{_last_line(log)}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        if name == "SIGKILL" and _oom_kills() > self._oom_kills:
            return "oom", "SIGKILL from the kernel: out of memory"
        return "failed", f"the process was ended by {name}{_last_line(log)}"

    def last_words(self) -> str:
        self._words.seek(0)
        lines = self._words.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self._process.returncode}"

    def kill(self) -> None:
        """End the worker and what its run has started."""
        # The group may outlive its leader: loaders and other children of a run.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._close_files()

    def close(self) -> None:
        if self.cell is None and self.ready:
            os.close(self._jobs)
            self._jobs = -1
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=10)
        self.kill()

    def _close_files(self) -> None:
        self._words.close()
        for fd in (self._jobs, self.pipe):
            if fd >= 0:
                os.close(fd)
        self._jobs = self.pipe = -1


def _wait_for(workers: list[_Worker]) -> None:
    # A pipe held open by a run's own child would hide a worker's death: the time limit finds it.
    with selectors.DefaultSelector() as selector:
        for worker in workers:
            selector.register(worker.pipe, selectors.EVENT_READ)
        selector.select(POLL_SECONDS)


def _try_to_write(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output) as file:
            file.write(bytes(4096))
    except OSError as error:
        raise OutputError(output, error.strerror) from None


def _blank_record(cell: Cell, suite: str) -> Record:
    family = METHODS.get(cell.method).family
    return blank_record(cell.config, run_id=cell.run_id, suite=suite, family=family)


def _environment(threads: int) -> dict[str, str]:
    counts = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    package = str(Path(tl_research.__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, **counts, "PYTHONPATH": path}


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except FileNotFoundError:
        return ""
    return f"; last line of its log: {lines[-1][:300]}" if lines else ""


def _oom_kills() -> int:
    """Processes that the kernel has killed for want of memory since it started; 0 where it does not say."""
    try:
        facts = Counter({k: int(v) for k, v in (line.split() for line in open("/proc/vmstat"))})  # noqa: SIM115
    except OSError:
        return 0
    return facts["oom_kill"]
