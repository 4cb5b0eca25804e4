"""A suite whose runs are of two processes each, through the real runner and its real workers, and under kill -9."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from tests.benchmark.test_runner import wait_until
from tl_research.cli import main
from tl_research.runs.experiment import run_alone
from tl_research.runs.record import RECORD_FILE, read_history, read_record
from tl_research.storage.names import RESUME_FILE
from tl_research.suites.suite import load_suite
from tl_research.suites.worker import LOG_FILE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
if sys.platform != "linux":
    pytestmark.append(pytest.mark.skip(reason="the tests look into /proc"))

ROOT = Path(__file__).resolve().parents[2]
SUITE = {
    "name": "two",
    "common": {
        "data": {"name": "simulated_market", "n_source": 95, "n_target": 85, "batch_size": 8},
        "encoder": {"name": "mlp", "hidden": [16], "dropout": 0.2},
        "trainer": {"max_epochs": 6, "accelerator": "cpu", "devices": 2, "strategy": "ddp", "threads": 1},
        "wandb": {"mode": "disabled"},
    },
    "tasks": ["old_market->new_market"],
    "methods": ["dann", "source_only"],
    "seeds": 1,
}
SUITE["common"]["trainer"] |= {"checkpoint_every_n_steps": 2, "checkpoint_every_seconds": None}


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("suite") / "two.yaml"
    path.write_text(yaml.safe_dump(SUITE))
    return path


@pytest.fixture(scope="module")
def undisturbed(suite) -> Path:
    """Folder of the runs that two workers have carried out at once."""
    output = suite.parent / "undisturbed"
    ended = main(["benchmark", str(suite), "--jobs", "2", "--output", str(output)])
    assert ended == 0, "\n".join(log.read_text() for log in output.glob(f"*/{LOG_FILE}"))
    return output


def numbers(folder):
    rows = [{k: v for k, v in row.items() if "second" not in k} for row in read_history(folder)]
    return read_record(folder).metrics, rows


def test_two_workers_of_two_processes_each_make_the_records_and_the_table(suite, undisturbed, tmp_path):
    cells = load_suite(suite).cells(undisturbed)
    assert sorted(path.parent.name for path in undisturbed.glob(f"*/{RECORD_FILE}")) == sorted(c.run_id for c in cells)
    for cell in cells:
        record = read_record(undisturbed / cell.run_id)
        assert record.status == "ok", record.message
        assert (record.environment["processes"], record.environment["threads"]) == (2, 1)
        assert not list((undisturbed / cell.run_id).glob("resume*"))
    page = (undisturbed / "two.md").read_text()
    assert "2 planned, 2 ok, 0 failed, 0 missing" in page
    assert "processes 2" in page
    by_hand = run_alone(OmegaConf.merge(cells[0].config, {"output": str(tmp_path)}))
    assert by_hand.run_id == cells[0].run_id
    assert numbers(tmp_path / by_hand.run_id) == numbers(undisturbed / by_hand.run_id)


#: The ranks of a run, and nobody else, wait at the end of an epoch while there is a file `hold`.
HOLD = """
import os, time
from pathlib import Path
from tl_research.parallel import preemption
ask, hold, end = preemption.is_asked_to_stop, Path(__file__).with_name("hold"), time.monotonic() + 900
def ask_at_the_end():
    while "TL_RESEARCH_PROCESSES" in os.environ and hold.exists() and time.monotonic() < end:
        time.sleep(0.05)
    return ask()
preemption.is_asked_to_stop = ask_at_the_end
"""


class Runner:
    """The command in a session of its own, and whatever processes come of it."""

    def __init__(self, suite: Path, output: Path, site: Path):
        command = [sys.executable, "-m", "tl_research.cli", "benchmark", str(suite), "--output", str(output)]
        environment = {**os.environ, "PYTHONPATH": f"{site}:{ROOT}", "OMP_NUM_THREADS": "1"}
        self.command = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        self.sessions = {self.command.pid}

    def workers(self) -> list[int]:
        return [pid for pid in children(self.command.pid) if "suites.worker" in words(pid)]

    def worker(self) -> int:
        (worker,) = self.workers()
        return worker

    def ranks(self) -> list[int]:
        return [pid for pid in children(self.worker()) if "spawn_main" in words(pid)]

    def wait_for_a_checkpoint_after(self, path: Path, stamp: int) -> None:
        wait_until(lambda: written(path) > stamp or self.command.poll() is not None, seconds=300)
        assert self.command.poll() is None, "it has ended before it could be killed"
        self.sessions.add(self.worker())

    def assert_all_end(self) -> None:
        wait_until(lambda: not in_sessions(self.sessions), seconds=60)

    def end(self) -> None:
        for pid in in_sessions(self.sessions):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.command.kill()
        self.command.wait()


def children(pid) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def words(pid) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode()


def in_sessions(sessions: set[int]) -> list[int]:
    """Processes of these sessions that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, session = path.read_text().rsplit(")", 1)[1].split()[:4]
            if int(session) in sessions and state not in "ZX":
                found.append(int(path.parent.name))
    return found


def written(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):  # between two renames
        return path.stat().st_mtime_ns
    return 0


def test_kill_9_of_a_rank_of_the_worker_and_of_the_runner(suite, undisturbed, tmp_path):
    """Each in the middle of a run: it leaves no process, loses nothing that is finished, and the next call goes on."""
    (tmp_path / "sitecustomize.py").write_text(HOLD)
    output, hold = tmp_path / "runs", tmp_path / "hold"
    hold.touch()
    first, second = (output / cell.run_id for cell in load_suite(suite).cells(output))

    runner = Runner(suite, output, tmp_path)
    try:
        runner.wait_for_a_checkpoint_after(first / RESUME_FILE, 0)
        ranks = runner.ranks()
        assert len(ranks) == 2
        os.kill(ranks[1], signal.SIGKILL)
        runner.wait_for_a_checkpoint_after(second / RESUME_FILE, 0)
        killed = runner.worker()
        os.kill(killed, signal.SIGKILL)
        # Its ranks end after it, and may still write: what is newer than `before` must be of the next worker.
        wait_until(lambda: not in_sessions({killed}), seconds=60)
        # It has a checkpoint, so another worker tries it once more.
        before = written(second / RESUME_FILE)
        wait_until(lambda: runner.workers() not in ([], [killed]), seconds=300)
        runner.wait_for_a_checkpoint_after(second / RESUME_FILE, before)
        os.kill(runner.worker(), signal.SIGKILL)
        assert runner.command.wait(timeout=300) == 1
        runner.assert_all_end()
    finally:
        runner.end()
    messages = [read_record(folder).message for folder in (first, second)]
    assert messages[0] == "ProcessDied: the process of rank 1 ended by SIGKILL"
    assert messages[1].startswith("the process was ended by SIGKILL")
    assert "2 planned, 0 ok, 2 failed, 0 missing" in (output / "two.md").read_text()

    hold.unlink()
    runner = Runner(suite, output, tmp_path)
    try:
        wait_until(lambda: read_record(first).status == "ok", seconds=300)
        hold.touch()
        # A resumed run's first checkpoint is another than the one it began with.
        runner.wait_for_a_checkpoint_after(second / RESUME_FILE, written(second / RESUME_FILE))
        runner.command.kill()
        runner.command.wait()
        runner.assert_all_end()
    finally:
        runner.end()
    assert numbers(first) == numbers(undisturbed / first.name)
    assert read_record(second).message == messages[1]
    done = (first / RECORD_FILE).read_bytes()

    assert main(["benchmark", str(suite), "--output", str(output)]) == 0
    assert numbers(second) == numbers(undisturbed / second.name)
    assert (first / RECORD_FILE).read_bytes() == done
    assert len(list(output.glob(f"*/{RECORD_FILE}"))) == 2
    for folder in (first, second):
        assert not list(folder.glob("resume*"))
        assert not list(folder.glob("*.tmp"))
