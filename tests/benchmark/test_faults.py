"""The suite runner on full and read-only disks, with clocks that jump, and what a killed write leaves behind."""

import copy
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.benchmark import fake, faulty
from tests.benchmark.faults import TINY, assert_nothing_ran_twice, faulty_suite, finished, journal, start
from tl_research.cli import main
from tl_research.config import compose
from tl_research.report.collect import collect, write_csv
from tl_research.report.plot import plot_differences
from tl_research.report.table import render
from tl_research.runs.experiment import run
from tl_research.runs.record import read_records
from tl_research.storage.files import write_atomically
from tl_research.storage.names import RESUME_FILE
from tl_research.suites.runner import OutputError
from tl_research.training.resume import ResumeCheckpoint

if sys.platform != "linux":
    pytestmark = pytest.mark.skip(reason="the tests mount file systems")


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


def test_a_temporary_that_was_left_is_removed_and_nothing_else(tmp_path):
    from tl_research.storage.files import remove_leftovers

    kept = ["result.json", ".lock", "resume.ckpt", ".result.json", "log.txt", ".hidden.json", ".result.json.bak"]
    for name in [*kept, ".result.json.k3j9x0ab", ".history.jsonl._8a7b6c5"]:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(kept)


def test_content_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """Otherwise a power cut leaves an empty file of the right name."""
    done, sync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: done.append(os.readlink(f"/proc/self/fd/{handle}")) or sync(handle))
    monkeypatch.setattr(os, "replace", lambda old, new: done.append((str(old), str(new))) or replace(old, new))
    write_atomically(tmp_path / "f", "text")
    temporary, renaming, folder = done
    assert renaming == (temporary, str(tmp_path / "f"))
    assert folder == str(tmp_path)


def test_two_threads_that_write_one_file_leave_one_of_the_two(tmp_path):
    texts = ["a" * 300_000, "b" * 300_000]
    threads = [threading.Thread(target=write_atomically, args=(tmp_path / "f", text)) for text in texts * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "f").read_text() in texts
    assert len(list(tmp_path.iterdir())) == 1
