"""The suite runner under kill -9, full and read-only disks, and clocks that jump."""

import contextlib
import copy
import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.benchmark import fake, faulty
from tl_research.benchmark.collect import collect, write_csv
from tl_research.benchmark.plot import plot_differences
from tl_research.benchmark.runner import OutputError, run_suite
from tl_research.benchmark.table import render
from tl_research.benchmark.worker import _end_with_parent
from tl_research.checkpoint import MODEL_FILE, RESUME_FILE, ResumeCheckpoint, load_model_file
from tl_research.cli import main
from tl_research.config import compose
from tl_research.experiment import run
from tl_research.files import write_atomically
from tl_research.lock import exclusive
from tl_research.results import RECORD_FILE, read_history, read_record, read_records

if sys.platform != "linux":
    pytestmark = pytest.mark.skip(reason="the tests look into /proc and mount file systems")

FORK = multiprocessing.get_context("fork") if sys.platform == "linux" else None


@cache
def base(output):
    config = compose(None, ["data.name=simulated_market", "wandb.mode=disabled", f"output={output}"])
    return OmegaConf.to_container(config)


class FaultySuite(fake.Suite):
    """Cells whose configurations differ in the seed alone; composing each would take longer than its run."""

    def cells(self, output="runs"):
        key = self.seeds, str(output)
        if key not in _CELLS:
            _CELLS[key] = [self._with_configuration(cell, str(output)) for cell in super().cells()]
        return _CELLS[key]

    def _with_configuration(self, cell, output):
        config = OmegaConf.create(base(output) | {"seed": cell.seed})
        return replace(cell, config=config, run_id=f"{cell.label}-{cell.seed}")


_CELLS = {}


def faulty_suite(seeds=3):
    rows = tuple(fake.Row(label, label) for label in ("source_only", "dann"))
    task = fake.Task("old_market->new_market")
    return FaultySuite((task,), rows, seeds=tuple(range(seeds)), rules=("last",))


def start(suite, output, **options):
    return run_suite(suite, output=output, run="tests.benchmark.faulty:run", **options)


def in_the_background(suite, output, **options):
    """A runner in a process group of its own, as a shell would start it."""

    parent = os.getpid()

    def target():
        os.setsid()
        _end_with_parent(parent)
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 2)
        start(suite, output, **options)
        os._exit(0)

    process = FORK.Process(target=target)
    process.start()
    return process


def children(pid) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def kill(pid, *, group=False) -> bool:
    with contextlib.suppress(ProcessLookupError):
        (os.killpg if group else os.kill)(pid, signal.SIGKILL)
        return True
    return False


def journal(output) -> list[tuple[str, str]]:
    path = output / "journal"
    return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


def finished(output) -> dict[str, bytes]:
    """Content of every record that is ok, by run."""
    found = {}
    for path in output.glob(f"*/{RECORD_FILE}"):
        content = path.read_bytes()
        if json.loads(content)["status"] == "ok":
            found[path.parent.name] = content
    return found


def read_all_the_time(output, errors):
    """Read whatever is there, as a table or a resumed run would; note what cannot be read."""
    while True:
        for path in [*output.glob("*/*.json"), *output.glob("*/*.jsonl")]:
            try:
                if path.suffix == ".jsonl":
                    read_history(path.parent)
                elif path.name == RECORD_FILE:
                    read_record(path.parent)
                else:
                    json.loads(path.read_text())
            except Exception as error:
                with open(errors, "a") as file:
                    file.write(f"{path}: {error!r}\n")
        time.sleep(0.02)


def assert_nothing_ran_twice(output, seen_at):
    """`seen_at`: run -> length of the journal when its record was seen to be ok."""
    lines = journal(output)
    assert not [line for line in lines if line[0] in ("again", "overlap")]
    done = set()
    for number, (word, name) in enumerate(lines):
        if word == "start":
            assert name not in done, f"{name} started again after it was ok"
            assert number < seen_at.get(name, len(lines)), f"{name} started again after its record was seen"
        elif word == "ok":
            done.add(name)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_random_kills_lose_nothing_and_repeat_nothing(tmp_path, monkeypatch):
    """60 kills of a worker, of the runner, or of all of them, while one or two runners are at work."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    rng = random.Random(7)
    suite, output, errors = faulty_suite(seeds=40), tmp_path / "runs", tmp_path / "errors"
    output.mkdir()
    suite.cells(output)
    reader = FORK.Process(target=read_all_the_time, args=(output, errors), daemon=True)
    reader.start()
    kills, runners, seen, seen_at = Counter(), [], {}, {}
    while sum(kills.values()) < 60:
        runners = [process for process in runners if process.is_alive()]
        if len(finished(output)) == len(suite.cells(output)):
            break
        while len(runners) < 1 or (len(runners) < 2 and rng.random() < 0.2):
            runners.append(in_the_background(suite, output, jobs=2))
        # By work done rather than by time, so that kills land everywhere on a slow machine too: from before the
        # first worker is up to the middle of a record's writing.
        wanted, limit = len(journal(output)) + rng.randrange(10), time.monotonic() + 4
        while len(journal(output)) < wanted and time.monotonic() < limit and any(p.is_alive() for p in runners):
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.03))
        victim = rng.choice(runners)
        kind = rng.choices(("worker", "runner", "group", "everything"), (5, 2, 2, 2))[0]
        workers = children(victim.pid)
        if kind == "worker":
            hit = bool(workers) and kill(rng.choice(workers))
        elif kind == "everything":
            hit = kill(victim.pid, group=True)
            for worker in workers:
                kill(worker, group=True)
        else:
            hit = kill(victim.pid, group=kind == "group")
        if kind != "worker":
            victim.join()
        kills[kind] += hit
        now = finished(output)
        assert {name: now.get(name) for name in seen} == seen, "a finished record was lost or changed"
        seen = now
        length = len(journal(output))
        for name in now:
            seen_at.setdefault(name, length)
    assert sum(kills.values()) >= 50, kills
    assert min(kills[kind] for kind in ("worker", "runner", "group", "everything")) >= 3, kills
    for process in runners:
        kill(process.pid)
        process.join()

    records = read_records(output)
    counts = Counter(record.status for record in records)
    page = render(collect(records, suite), suite, records=records)
    planned, ok, failed, missing = map(
        int, re.search(r"Runs: (\d+) planned, (\d+) ok, (\d+) failed, (\d+) missing", page).groups()
    )
    assert (planned, ok, failed) == (80, counts["ok"], counts["failed"])
    assert missing == 80 - ok - failed
    wait_until_free(suite, output)

    summary = start(suite, output, jobs=2)
    assert (summary.ok, summary.skipped, summary.failed, summary.elsewhere) == (80 - len(seen), len(seen), {}, 0)
    reader.kill()
    assert not errors.exists(), errors.read_text()
    assert_nothing_ran_twice(output, seen_at)
    for cell in suite.cells(output):
        record = read_record(output / cell.run_id)
        assert record.metrics["last"]["target_test/accuracy"] == faulty.result(cell.seed)
        assert Counter(journal(output))["ok", cell.run_id] <= 1
    assert not list(output.glob("*/.*.json*.*")), "leftovers of killed writes"


def wait_until_free(suite, output):
    """Wait until the workers of killed runners are gone: the kernel ends them, in its own time."""
    end = time.monotonic() + 10
    for cell in suite.cells(output):
        free = False
        while not free and time.monotonic() < end:
            with exclusive(output / cell.run_id) as free:
                pass
            time.sleep(0 if free else 0.02)
        assert free, f"{cell.run_id} is still locked"


TINY = {
    "data": {"name": "simulated_market", "n_source": 300, "n_target": 300},
    "encoder": {"name": "mlp", "hidden": [16], "dropout": 0.2},
    "trainer": {
        "max_epochs": 60, "accelerator": "cpu", "threads": 1,
        "checkpoint_every_seconds": None, "checkpoint_every_n_steps": 5,
    },
    "wandb": {"mode": "disabled"},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_real_runs_that_were_killed_end_with_the_numbers_of_undisturbed_ones(tmp_path):
    rng = random.Random(3)
    cells = []
    for method in ("source_only", "dann"):
        config = compose(TINY, [f"method.name={method}", f"output={tmp_path / 'killed'}"])
        whole = run(compose(TINY, [f"method.name={method}", f"output={tmp_path / 'whole'}"]))
        cells.append(fake.Cell(method, method, "old_market->new_market", 0, config, whole.run_id))

    class Two(fake.Suite):
        def cells(self, output="runs"):
            return cells

    suite, output = Two((), ()), tmp_path / "killed"

    parent = os.getpid()

    def target():
        os.setsid()
        _end_with_parent(parent)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        run_suite(suite, output=output, jobs=2)
        os._exit(0)

    kills = 0
    for kind in ("worker", "group", "runner"):
        process = FORK.Process(target=target)
        process.start()
        # Another checkpoint than those of the attempt before: it is at work again.
        stamps, limit = checkpoints(output), time.monotonic() + 120
        while checkpoints(output) == stamps and process.is_alive() and time.monotonic() < limit:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.2))
        workers = children(process.pid)
        if kind == "worker":
            kills += bool(workers) and kill(rng.choice(workers))
            time.sleep(0.3)
        kills += kill(process.pid, group=kind == "group")
        process.join()
        assert all(map(os.path.getsize, checkpoints(output))), "an empty checkpoint"
    assert kills >= 4
    wait_until_free(suite, output)
    summary = run_suite(suite, output=output, jobs=2)
    assert summary.ok + summary.skipped == 2
    for cell in cells:
        killed, whole = (read_record(tmp_path / name / cell.run_id) for name in ("killed", "whole"))
        assert killed.metrics == whole.metrics
        models = [load_model_file(tmp_path / name / cell.run_id)["model"] for name in ("killed", "whole")]
        assert all((models[0][name] == models[1][name]).all() for name in models[1])
        files = {path.name for path in (output / cell.run_id).iterdir()}
        assert files == {"result.json", "history.jsonl", MODEL_FILE, "log.txt", ".lock"}


def checkpoints(output) -> dict[Path, int]:
    found = {}
    for path in output.glob(f"*/{RESUME_FILE}"):
        with contextlib.suppress(FileNotFoundError):  # between two renames
            found[path] = path.stat().st_mtime_ns
    return found


@pytest.mark.slow
def test_killed_while_it_writes_tables_leaves_whole_ones(tmp_path):
    from PIL import Image

    suite = fake.suite(rows="source_only dann")
    records = fake.filled(suite)
    frame = collect(records, suite)
    csv, page, plot = (tmp_path / name for name in ("t.csv", "t.md", "t.png"))
    wanted = render(frame, suite, records=records)

    def write():
        write_csv(frame, csv)
        write_atomically(page, wanted)
        plot_differences(frame, suite, plot)

    def write_all_the_time():
        while True:
            write()

    write()
    whole = [path.read_bytes() for path in (csv, page, plot)]
    rng = random.Random(1)
    for _ in range(8):
        process = FORK.Process(target=write_all_the_time)
        process.start()
        end = time.monotonic() + rng.uniform(0.05, 0.6)
        while time.monotonic() < end:
            assert [path.read_bytes() for path in (csv, page, plot)] == whole
            time.sleep(0.001)
        process.kill()
        process.join()
        assert [path.read_bytes() for path in (csv, page, plot)] == whole
    Image.open(plot).load()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte; `mount(options)` changes it."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    try:
        mounted = mount("size=1m")
    except FileNotFoundError:
        pytest.skip("there is no program `mount`")
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder, mount
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    monkeypatch.setenv("FAULTY_PAUSE", "0")


def test_a_disk_that_fills_up_stops_the_suite_with_one_line(small_disk, importable, monkeypatch, capsys):
    disk, _ = small_disk
    suite, output = faulty_suite(seeds=4), disk / "runs"
    monkeypatch.setenv("FAULTY_FILLS", "2")
    with pytest.raises(
        OutputError, match=rf"{output}: runs cannot be written .*No space left.*what is finished is kept"
    ):
        start(suite, output, jobs=1)
    before = finished(output)
    assert set(before) == {"source_only-0", "source_only-1"}
    assert len(read_records(output)) == 2
    assert not list(output.glob("*/.result*")), "a part of a record was left"
    with pytest.raises(OutputError, match="No space left"):
        start(suite, output, jobs=1)
    assert [line for line in journal(output) if line[0] == "start"] == [("start", f"source_only-{i}") for i in range(3)]
    page = render(collect(read_records(output), suite), suite, records=read_records(output))
    assert "8 planned, 2 ok, 0 failed, 6 missing" in page
    (output / "filler").unlink()
    monkeypatch.delenv("FAULTY_FILLS")
    summary = start(suite, output, jobs=1)
    assert (summary.ok, summary.skipped, summary.failed) == (6, 2, {})
    assert {name: finished(output)[name] for name in before} == before
    assert_nothing_ran_twice(output, {})


def test_a_full_disk_keeps_the_old_table_and_the_old_checkpoint(small_disk):
    disk, _ = small_disk
    suite = fake.suite()
    frame = collect(fake.filled(suite), suite)
    csv, plot, checkpoint = disk / "t.csv", disk / "t.png", disk / RESUME_FILE
    write_csv(frame, csv)
    plot_differences(frame, suite, plot)
    checkpoint.write_bytes(b"the last one")
    before = {path.name: path.read_bytes() for path in disk.iterdir()}
    faulty.fill(disk)

    class Trainer:
        is_global_zero = True

        def save_checkpoint(self, path):
            Path(path).write_bytes(bytes(100_000))

    for write in (
        lambda: write_csv(frame, csv),
        lambda: plot_differences(frame, suite, plot),
        lambda: ResumeCheckpoint(disk, every_n_steps=1, every_seconds=None).save(Trainer()),
    ):
        with pytest.raises(OSError, match="No space left"):
            write()
    (disk / "filler").unlink()
    assert {path.name: path.read_bytes() for path in disk.iterdir()} == before


def test_a_read_only_folder_is_one_line_and_still_readable(small_disk, importable, tmp_path, capsys):
    disk, mount = small_disk
    suite, output = faulty_suite(seeds=2), disk / "runs"
    assert start(suite, output, jobs=1).ok == 4
    assert mount("remount,ro,size=1m").returncode == 0
    assert start(suite, output, jobs=1).skipped == 4, "nothing is to be written where all is finished"
    with pytest.raises(OutputError, match=rf"{output}: runs cannot be written \(Read-only file system\)"):
        start(faulty_suite(seeds=3), output, jobs=1)
    assert len([line for line in journal(output) if line[0] == "start"]) == 4
    assert len(collect(read_records(output), suite)) == 4

    path = tmp_path / "suite.yaml"
    tree = {"name": "tiny", "common": {"data": {"name": "simulated_market"}, "wandb": {"mode": "disabled"}}}
    path.write_text(json.dumps(tree | {"tasks": ["old_market->new_market"], "methods": ["source_only"], "seeds": 1}))
    assert main(["benchmark", str(path), "--output", str(output)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"tl-research: {output}: runs cannot be written (Read-only file system)")


def test_a_clock_that_jumps_moves_no_time_limit(tmp_path, importable, monkeypatch):
    monkeypatch.setenv("FAULTY_CLOCK", "1")
    monkeypatch.setenv("FAULTY_PAUSE", "0.005")
    steady, jump = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: steady() + 3600 * (-1) ** next(jump))
    begun = time.monotonic()
    suite = faulty_suite(seeds=3)
    summary = start(suite, tmp_path / "runs", jobs=2, timeout=120)
    assert (summary.ok, summary.failed) == (6, {})
    taken = time.monotonic() - begun
    tiny = copy.deepcopy(TINY)
    tiny["trainer"] |= {"max_epochs": 3, "checkpoint_every_seconds": 3000, "checkpoint_every_n_steps": None}
    saves = []
    monkeypatch.setattr(ResumeCheckpoint, "save", lambda *_: saves.append(1))
    record = run(compose(tiny, [f"output={tmp_path / 'real'}"]))
    assert 0 < record.seconds < time.monotonic() - begun - taken + 1
    assert not saves, "a jump of the clock is no passing of time"
    assert all(0 < value < 60_000 for name, value in record.throughput.items() if name.startswith("step_ms"))


def test_a_process_that_a_killed_run_has_forked_does_not_keep_its_folder(tmp_path):
    reads, writes = os.pipe()
    parent = os.fork()
    if parent == 0:
        with exclusive(tmp_path):
            child = os.fork()
            if child == 0:
                time.sleep(60)
                os._exit(0)
            os.write(writes, str(child).encode())
            time.sleep(60)
        os._exit(0)
    child = int(os.read(reads, 100))
    with exclusive(tmp_path) as mine:
        assert not mine
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    try:
        with exclusive(tmp_path) as mine:
            assert mine
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_temporary_that_was_left_is_removed_and_nothing_else(tmp_path):
    from tl_research.files import remove_leftovers

    kept = ["result.json", ".lock", "resume.ckpt", ".result.json", "log.txt", ".hidden.json"]
    for name in [*kept, ".result.json.k3j9x0ab", ".history.jsonl._8a7b6c5"]:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(kept)


def test_two_threads_that_write_one_file_leave_one_of_the_two(tmp_path):
    texts = ["a" * 300_000, "b" * 300_000]
    threads = [threading.Thread(target=write_atomically, args=(tmp_path / "f", text)) for text in texts * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "f").read_text() in texts
    assert len(list(tmp_path.iterdir())) == 1
