"""The suite runner, real runs and the writing of tables under kill -9."""

import contextlib
import json
import multiprocessing
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.benchmark import fake, faulty
from tests.benchmark.faults import TINY, assert_nothing_ran_twice, faulty_suite, finished, journal, start
from tl_research.config import compose
from tl_research.parallel.parent import end_with_parent
from tl_research.report.collect import collect, write_csv
from tl_research.report.plot import plot_differences
from tl_research.report.table import render
from tl_research.runs.experiment import run
from tl_research.runs.record import RECORD_FILE, read_history, read_record, read_records
from tl_research.storage.checkpoints import load_model_file
from tl_research.storage.files import write_atomically
from tl_research.storage.lock import exclusive
from tl_research.storage.names import MODEL_FILE, RESUME_FILE
from tl_research.suites.runner import run_suite

if sys.platform != "linux":
    pytestmark = pytest.mark.skip(reason="the tests look into /proc")

FORK = multiprocessing.get_context("fork") if sys.platform == "linux" else None


def in_the_background(suite, output, **options):
    """A runner in a process group of its own, as a shell would start it."""

    parent = os.getpid()

    def target():
        os.setsid()
        end_with_parent(parent)
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
    # The last look was before the last kill.
    now = finished(output)
    assert {name: now.get(name) for name in seen} == seen, "a finished record was lost or changed"
    seen, length = now, len(journal(output))
    for name in now:
        seen_at.setdefault(name, length)

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
    end = time.monotonic() + 60
    for cell in suite.cells(output):
        free = False
        while not free and time.monotonic() < end:
            with exclusive(output / cell.run_id) as free:
                pass
            time.sleep(0 if free else 0.02)
        assert free, f"{cell.run_id} is still locked"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_real_run_that_was_killed_ends_with_the_numbers_of_an_undisturbed_one(tmp_path):
    """One run at a time: how several workers share the runs is no matter of what a run computes (above)."""
    rng = random.Random(3)
    config, undisturbed = (
        compose(TINY, ["method.name=dann", f"output={tmp_path / name}"]) for name in ("killed", "whole")
    )
    whole = run(undisturbed)
    cell = fake.Cell("dann", "dann", "old_market->new_market", 0, config, whole.run_id)

    class One(fake.Suite):
        def cells(self, output="runs"):
            return [cell]

    suite, output = One((), ()), tmp_path / "killed"

    parent = os.getpid()

    def target():
        os.setsid()
        end_with_parent(parent)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        run_suite(suite, output=output, jobs=1)
        os._exit(0)

    kills = 0
    for kind in ("worker", "group", "runner"):
        process = FORK.Process(target=target)
        process.start()
        # Another checkpoint than those of the attempt before: it is at work again.
        stamps, limit = checkpoints(output), time.monotonic() + 300
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
    summary = run_suite(suite, output=output, jobs=1)
    assert summary.ok + summary.skipped == 1
    assert read_record(output / cell.run_id).metrics == whole.metrics
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
