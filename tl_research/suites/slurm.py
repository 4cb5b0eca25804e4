"""SLURM: batch scripts of a suite as one job array and of one run over several GPUs and nodes, and the queue."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tl_research.config import check
from tl_research.errors import ConfigError, DataError, UserError, nearest
from tl_research.parallel.preemption import NOTICE, NOTICE_SECONDS
from tl_research.runs.record import write_atomically

#: Folder below the runs' for the jobs' logs and for what was submitted.
FOLDER = "slurm"
SUBMISSION = ".json"


@dataclass(frozen=True)
class Job:
    """What is asked of SLURM; an empty value leaves it to the cluster.

    Fields:
        time: limit of one job, as `sbatch --time` takes it; a job that reaches it saves, and goes on in the queue.
        nodes: of one run.
        gpus: a node.
        tasks: processes of one run per node; 0 for one per GPU.
        cpus: cores per task; 0 for one, or for one per worker process of a suite.
        memory: a node, such as 16G.
        shares: jobs of the array, at most one per run.
        parallel: how many of them run at once; 0 for no limit.
        notice: seconds before its end that a job is told.
        environment: shell commands before the first Python, such as `module load cuda`.
        options: further words for sbatch, such as `--qos=low --exclude=n7`.
    """

    account: str = ""
    partition: str = ""
    time: str = "24:00:00"
    nodes: int = 1
    gpus: int = 0
    tasks: int = 0
    cpus: int = 0
    memory: str = ""
    shares: int = 8
    parallel: int = 0
    notice: int = NOTICE_SECONDS
    environment: str = ""
    options: str = ""

    def __post_init__(self):
        for name in ("nodes", "shares", "notice"):
            check(getattr(self, name) >= 1, f"slurm.{name}", getattr(self, name), "at least 1")
        for name in ("gpus", "tasks", "cpus", "parallel"):
            check(getattr(self, name) >= 0, f"slurm.{name}", getattr(self, name), "at least 0")
        wanted = r"\d+(-\d+(:\d+){0,2}|(:\d+){0,2})"
        check(
            not self.time or re.fullmatch(wanted, self.time) is not None,
            "slurm.time",
            self.time,
            "minutes, hours:minutes:seconds or days-hours",
        )


def read_job(pairs: Sequence[str]) -> Job:
    """Make a `Job` of `key=value` texts; an empty value is the default.

    Raises:
        ConfigError: names the key.
    """
    kinds = {field.name: type(field.default) for field in dataclasses.fields(Job)}
    values = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if name not in kinds or not equals:
            raise ConfigError(f"--slurm {pair}: wants KEY=VALUE{nearest(name, kinds)}")
        if value == "":
            continue
        if kinds[name] is int and not value.isdecimal():
            raise ConfigError(f"slurm.{name}: got {value!r}, wants a whole number")
        values[name] = kinds[name](value)
    return Job(**values)


def array_script(suite, job: Job, *, runs: int, jobs: int, output: str | Path, timeout: float | None = None) -> str:
    """Return the batch script of a suite: an array whose task i carries out share i of the runs.

    Args:
        suite: from `load_suite`.
        job: what is asked of SLURM.
        runs: of the suite.
        jobs: worker processes of one array task.
        output: folder of the run folders, where every node sees it.
        timeout: as of `run_suite`.
    """
    check(job.nodes == 1 and job.tasks <= 1, "slurm", f"nodes={job.nodes} tasks={job.tasks}", "one task for a suite")
    shares = min(job.shares, runs)
    job = dataclasses.replace(job, tasks=1, cpus=job.cpus or jobs)
    words = [sys.executable, "-m", "tl_research.cli", "benchmark", Path(suite.path).resolve(), "--jobs", jobs]
    words += ["--output", Path(output).resolve()]
    words += [] if timeout is None else ["--timeout", f"{timeout:g}"]
    command = f'{_quote(words)} --share "$SLURM_ARRAY_TASK_ID/{shares}"'
    limit = f"%{job.parallel}" if job.parallel else ""
    return _script(suite.name, job, command, output, log="%A_%a", array=f"1-{shares}{limit}")


def train_script(arguments: Sequence[str], job: Job, *, name: str, output: str | Path) -> str:
    """Return the batch script of one run, one process per GPU (or `job.tasks`) on each of `job.nodes` nodes.

    Args:
        arguments: of `tl-research fit`: recipe and overrides; `trainer.devices`, `num_nodes` and `strategy` follow
            from the job where they are not among them.
        job: what is asked of SLURM.
        name: the job's.
        output: folder of the run folders, where every node sees it.
    """
    tasks = job.tasks or max(1, job.gpus)
    follows = {"devices": tasks, "num_nodes": job.nodes}
    if tasks * job.nodes > 1:
        follows["strategy"] = "ddp"
    given = {argument.partition("=")[0] for argument in arguments}
    words = [sys.executable, "-m", "tl_research.cli", "fit", *arguments]
    words += [f"trainer.{key}={value}" for key, value in follows.items() if f"trainer.{key}" not in given]
    job = dataclasses.replace(job, tasks=tasks, cpus=job.cpus or 1)
    return _script(name, job, _quote(words), output, log="%j")


def _script(name: str, job: Job, command: str, output: str | Path, *, log: str, array: str = "") -> str:
    logs = str(Path(output).resolve() / FOLDER).replace("%", "%%")
    options = {
        "job-name": name,
        "array": array,
        "account": job.account,
        "partition": job.partition,
        "time": job.time,
        "nodes": job.nodes,
        "ntasks-per-node": job.tasks,
        "cpus-per-task": job.cpus,
        "gpus-per-node": job.gpus or "",
        "mem": job.memory,
        # To the processes of the steps, not to this script (no `B:`), and in time to save.
        "signal": f"SIGUSR1@{job.notice}",
        "output": f"{logs}/{log}.log",
    }
    lines = ["#!/usr/bin/env bash"]
    lines += [f"#SBATCH --{key}={_quote([value])}" for key, value in options.items() if value != ""]
    lines += ["#SBATCH --requeue", "#SBATCH --open-mode=append"]
    lines += [f"#SBATCH {option}" for option in shlex.split(job.options)]
    lines += ["set -euo pipefail"]
    lines += [job.environment] if job.environment else []
    # srun does not take it from sbatch (since SLURM 22.05).
    lines += [f"export SRUN_CPUS_PER_TASK={job.cpus} {NOTICE}={job.notice}", f"exec srun {command}"]
    return "\n".join(lines) + "\n"


def _quote(words: Sequence[object]) -> str:
    return shlex.join(str(word) for word in words)


def submit(script: str, *, output: str | Path, suite: str = "", shares: int = 1) -> str:
    """Submit a batch script and return the job's id; what was submitted is noted in `<output>/slurm/<id>.json`.

    Raises:
        UserError: there is no sbatch here, or it refuses.
    """
    folder = Path(output) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    printed = _call(["sbatch", "--parsable"], script)
    if printed is None:
        raise UserError("sbatch: there is no such command here; --dry-run prints the script")
    identifier = printed.strip().split(";")[0]
    note = {"job": identifier, "suite": suite and str(Path(suite).resolve()), "shares": shares}
    write_atomically(folder / f"{identifier}{SUBMISSION}", json.dumps(note) + "\n")
    return identifier


@dataclass(frozen=True)
class Submission:
    """A job that `submit` has noted; `suite` is the path of a suite file, empty for one run."""

    job: str
    suite: str
    shares: int


def submissions(output: str | Path) -> list[Submission]:
    """Return what was submitted into a folder of runs, the oldest first.

    Raises:
        DataError: a note is none of `submit`'s; names its file.
    """
    notes = [_submission(path) for path in (Path(output) / FOLDER).glob(f"*{SUBMISSION}")]
    return sorted(notes, key=lambda note: int(note.job))


def _submission(path: Path) -> Submission:
    try:
        note = Submission(**json.loads(path.read_text(encoding="utf-8")))
        if not (note.job.isdecimal() and isinstance(note.suite, str) and isinstance(note.shares, int)):
            raise ValueError("job, suite and shares are not as they are written")
        return note
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: not the note of a submitted job ({error}); remove the file") from None


@dataclass(frozen=True)
class Queued:
    """A job, or one task of an array, as squeue shows it."""

    job: str  # 12, or 12_3
    state: str  # PENDING, RUNNING, COMPLETING, ...
    reason: str  # of waiting; the nodes of one that runs
    elapsed: str


def queue(jobs: Sequence[str]) -> dict[str, Queued] | None:
    """Return those of the jobs and their array tasks that SLURM has in its queue; None where no SLURM answers."""
    try:
        printed = _call(["squeue", "--noheader", "--array", "--me", "--format=%i|%T|%R|%M"])
    except UserError:
        return None
    if printed is None:
        return None
    rows = [line.strip().split("|") for line in printed.splitlines() if line.count("|") == 3]
    return {row[0]: Queued(*row) for row in rows if row[0].partition("_")[0] in jobs}


def _call(command: list[str], text: str | None = None) -> str | None:
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        return None
    except subprocess.TimeoutExpired:
        raise UserError(f"{command[0]}: no answer in 60 s") from None
    if done.returncode:
        raise UserError(f"{command[0]}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout
