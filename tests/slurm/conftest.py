"""Real jobs on a real SLURM, such as `scripts/dev/slurm_one_node.sh up` starts; skipped where none answers."""

import io
import subprocess
import time
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import yaml

from tl_research.cli import main

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 400


def call(*command, **options) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def wait_until(condition, *, what: str, seconds: float = SECONDS):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not in {seconds} s\n{call('squeue', '--array')}"
        time.sleep(0.2)
    return value


#: Waits a little at the end of a batch, so that a run can be caught in the middle whatever the machine's speed.
SLOW = """
import os, time
if "TEST_SLOW" in os.environ:
    from tl_research.parallel import preemption
    ask = preemption.is_asked_to_stop
    preemption.is_asked_to_stop = lambda: time.sleep(float(os.environ["TEST_SLOW"])) or ask()
"""


class Cluster:
    """Submits as a user does, from a folder of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.runs = folder / "runs"
        # Jobs import this tree with this Python; all nodes are this machine, whatever their names.
        self.setup = f"export PYTHONPATH={folder}:{ROOT} MASTER_ADDR=127.0.0.1 OMP_NUM_THREADS=1"
        (folder / "sitecustomize.py").write_text(SLOW)

    def tl_research(self, *words) -> str:
        with redirect_stdout(io.StringIO()) as printed:
            code = main([str(word) for word in words])
        assert code == 0, words
        return printed.getvalue()

    def suite(self, name: str, **fields) -> Path:
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"name": name, **fields}))
        return path

    def submit(self, command: str, *words, slow: float = 0.0, **job) -> str:
        """Return the job's id; `slow` seconds a batch, until it is requeued."""
        setup = f'{self.setup}\n[ -n "${{SLURM_RESTART_COUNT:-}}" ] || export TEST_SLOW={slow}'
        pairs = [f"{key}={value}" for key, value in {"environment": setup, **job}.items()]
        return self.tl_research(command, *words, "--slurm", *pairs).split("job ")[1].split(";")[0]

    def states(self, job: str) -> list[str]:
        """State of every task that SLURM still remembers."""
        shown = call("scontrol", "--oneliner", "show", "job", job)
        return [word.partition("=")[2] for word in shown.split() if word.startswith("JobState=")]

    def restarts(self, job: str) -> int:
        shown = call("scontrol", "--oneliner", "show", "job", job)
        return sum(int(word.partition("=")[2]) for word in shown.split() if word.startswith("Restarts="))

    def wait_for_end(self, job: str) -> list[str]:
        busy = {"PENDING", "RUNNING", "COMPLETING", "CONFIGURING"}
        wait_until(lambda: not busy & set(self.states(job)), what=f"end of job {job}\n{self.logs()}")
        return self.states(job)

    def wait_for_checkpoint(self) -> Path:
        """A run that is half-way."""
        return wait_until(lambda: next(self.runs.glob("*/resume.ckpt"), None), what="a checkpoint")

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in self.folder.glob("*/slurm/*.log"))


@pytest.fixture(scope="session")
def slurm() -> None:
    try:
        answer = subprocess.run(["scontrol", "ping"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"no SLURM here ({error}); scripts/dev/slurm_one_node.sh up")
    if "is UP" not in answer.stdout:
        pytest.skip("no SLURM controller answers; scripts/dev/slurm_one_node.sh up")


@pytest.fixture
def cluster(slurm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = Cluster(tmp_path)
    yield made
    for note in made.folder.glob("*/slurm/*.json"):
        subprocess.run(["scancel", note.stem], check=False, timeout=60)
