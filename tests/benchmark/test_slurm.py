import fcntl
import os
import shlex
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.benchmark.test_runner import executed, stub  # noqa: F401  (a fixture)
from tl_research.cli import main
from tl_research.errors import ConfigError, UserError
from tl_research.runs.record import blank_record, write_record
from tl_research.storage.lock import exclusive
from tl_research.suites import slurm
from tl_research.suites.runner import share_of
from tl_research.suites.slurm import Job, array_script, read_job, train_script
from tl_research.suites.status import is_held, jobs_without_suite, render, status
from tl_research.suites.suite import load_suite

ROOT = Path(__file__).resolve().parents[2]
DEMO = str(ROOT / "benchmarks/suites/demo.yaml")
RECIPE = str(ROOT / "configs/simulated_market/dann.yaml")


def directives(script: str) -> dict[str, str]:
    lines = [line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH --")]
    return {line.partition("=")[0]: line.partition("=")[2] for line in lines}


def command(script: str) -> list[str]:
    return shlex.split(script.splitlines()[-1])


def test_array_script(tmp_path):
    job = Job(account="lab", partition="gpu", time="4:00:00", gpus=1, shares=16, parallel=4, memory="16G",
              environment="module load cuda\nsource env.sh", options="--qos=low --exclude=n7")  # fmt: skip
    script = array_script(load_suite(DEMO), job, runs=30, jobs=4, output=tmp_path / "the runs", timeout=60)
    found = directives(script)
    expected = {
        "job-name": "demo", "array": "1-16%4", "account": "lab", "partition": "gpu", "time": "4:00:00", "nodes": "1",
        "ntasks-per-node": "1", "cpus-per-task": "4", "gpus-per-node": "1", "mem": "16G", "signal": "SIGUSR1@120",
        "requeue": "", "open-mode": "append", "qos": "low", "exclude": "n7",
        "output": f"'{tmp_path}/the runs/slurm/%A_%a.log'",
    }  # fmt: skip
    assert found == expected
    lines = script.splitlines()
    assert lines.index("module load cuda") < lines.index("source env.sh") < len(lines) - 1
    words = command(script)
    assert words[:6] == ["exec", "srun", sys.executable, "-m", "tl_research.cli", "benchmark"]
    assert words[words.index("--share") + 1] == "$SLURM_ARRAY_TASK_ID/16"
    assert words[words.index("--output") + 1] == str(tmp_path / "the runs")
    assert words[words.index("--timeout") + 1] == "60"
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_what_is_not_asked_for_is_left_to_the_cluster_and_no_share_is_empty(tmp_path):
    script = array_script(load_suite(DEMO), Job(shares=99), runs=30, jobs=1, output=tmp_path)
    found = directives(script)
    assert found["array"] == "1-30"
    assert not {"account", "partition", "gpus-per-node", "mem"} & set(found)


def test_train_script_starts_a_process_a_gpu_and_tells_lightning():
    script = train_script(["recipe.yaml", "data.sources=[a b]"], Job(gpus=4, nodes=2), name="dann", output="runs")
    assert {"nodes": "2", "ntasks-per-node": "4", "gpus-per-node": "4"}.items() <= directives(script).items()
    follows = ["trainer.devices=4", "trainer.num_nodes=2", "trainer.strategy=ddp"]
    assert command(script)[6:] == ["recipe.yaml", "data.sources=[a b]", *follows]
    given = train_script(["trainer.strategy=fsdp"], Job(gpus=2), name="dann", output="runs")
    assert command(given)[6:] == ["trainer.strategy=fsdp", "trainer.devices=2", "trainer.num_nodes=1"]
    alone = train_script([], Job(), name="dann", output="runs")
    assert command(alone)[6:] == ["trainer.devices=1", "trainer.num_nodes=1"]


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("partitoin=gpu", "did you mean 'partition'"),
        ("gpus=two", "slurm.gpus: got 'two'"),
        ("gpu", "KEY=VALUE"),
        ("time=soon", "slurm.time"),
        ("shares=0", "slurm.shares"),
    ],
)
def test_a_wrong_option_is_named(pair, message):
    with pytest.raises(ConfigError, match=message):
        read_job([pair])
    assert read_job(["account=", "gpus=", "time="]) == Job()


def test_a_suite_takes_one_task(tmp_path):
    with pytest.raises(ConfigError, match="nodes=2"):
        array_script(load_suite(DEMO), Job(nodes=2), runs=30, jobs=1, output=tmp_path)


@pytest.mark.parametrize("n", [1, 2, 7, 30, 45])
def test_every_run_is_in_exactly_one_share(n):
    runs = list(range(30))
    shares = [share_of(runs, (i, n)) for i in range(1, n + 1)]
    assert sorted(run for share in shares for run in share) == runs
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("share", [(0, 3), (4, 3), (1, 0)])
def test_a_share_outside_is_refused(share):
    with pytest.raises(ConfigError, match="share"):
        share_of([1, 2], share)


def test_dry_run_prints_the_script_and_submits_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(slurm, "_call", lambda *_: pytest.fail("submitted"))
    assert main(["benchmark", DEMO, "--dry-run", "--slurm", "shares=4"]) == 0
    assert directives(capsys.readouterr().out)["array"] == "1-4"
    assert main(["fit", RECIPE, "--dry-run", "--slurm", "gpus=2"]) == 0
    assert "trainer.strategy=ddp" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    assert main(["benchmark", DEMO, "--dry-run"]) == 2


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("array.sh", [DEMO, "--jobs", "2"], {"array": "1-5", "partition": "debug", "cpus-per-task": "2"}),
        ("train.sh", [RECIPE], {"job-name": "dann-simulated_market", "partition": "debug", "ntasks-per-node": "1"}),
    ],
)
def test_the_shell_files_only_pass_their_variables_on(name, arguments, expected, tmp_path):
    variables = {"PARTITION": "debug", "SHARES": "5", "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [ROOT / "scripts/slurm" / name, *arguments, "--dry-run"],
        cwd=tmp_path, env={**os.environ, **variables}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert expected.items() <= directives(done.stdout).items()


def test_submit_returns_the_id_and_notes_what_it_was(tmp_path, monkeypatch, capsys):
    sent = []
    monkeypatch.setattr(slurm, "_call", lambda words, text: sent.append((words, text)) or "77;cluster\n")
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark", DEMO, "--slurm", "shares=99"]) == 0
    assert "job 77" in capsys.readouterr().out
    ((words, text),) = sent
    assert words[0] == "sbatch"
    assert "array=1-30" in text
    assert slurm.submissions("runs") == [slurm.Submission("77", DEMO, 30)]


def test_what_was_submitted_is_listed_by_number_and_only_that_is_shown(tmp_path, monkeypatch):
    numbers, printed = (
        iter(["9", "100", "23"]),
        "100|RUNNING|n3|1:02\n101|RUNNING|n4|9:99\n23|PENDING|(Priority)|0:00\n",
    )
    monkeypatch.setattr(slurm, "_call", lambda words, text=None: next(numbers) if words[0] == "sbatch" else printed)
    for suite in ("", "", DEMO):
        slurm.submit("", output=tmp_path, suite=suite)
    assert [note.job for note in slurm.submissions(tmp_path)] == ["9", "23", "100"]
    assert jobs_without_suite(tmp_path) == ["job 100 runs on n3 since 1:02"]


def test_a_percent_sign_in_a_folder_is_no_pattern_of_sbatch(tmp_path):
    script = train_script([], Job(), name="dann", output=tmp_path / "50%j")
    assert directives(script)["output"] == f"{tmp_path}/50%%j/slurm/%j.log"


def test_no_sbatch_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="no such command"):
        slurm.submit("#!/bin/sh\n", output=tmp_path)
    assert slurm.queue(["1"]) is None


def cells_and_records(tmp_path):
    suite = load_suite(DEMO)
    cells = suite.cells(tmp_path)
    for cell, state in zip(cells, ["ok", "oom", "stopped", "running"], strict=False):
        folder = tmp_path / cell.run_id
        folder.mkdir()
        record = blank_record(cell.config, run_id=cell.run_id, suite="demo", family="baseline")
        if state in ("ok", "oom"):
            (folder / "resume.ckpt").write_bytes(b"")
            record.status, record.message = state, "" if state == "ok" else "out of memory"
            os.utime(folder / "resume.ckpt", (1, 1))
            write_record(folder, record)
        elif state == "stopped":
            record.message = "an earlier start"
            os.utime(write_record(folder, record), (1, 1))
            (folder / "resume.ckpt").write_bytes(b"")
    return suite, cells


def test_status_tells_done_failed_stopped_running_and_not_begun(tmp_path, monkeypatch):
    suite, cells = cells_and_records(tmp_path)
    with exclusive(tmp_path / cells[3].run_id):
        states = status(tmp_path, suite)
        page = render(states, details=1)
        without = status(tmp_path)
    assert [run.state for run in states] == ["done", "failed", "queued", "running"] + ["queued"] * 26
    assert (states[1].why, states[2].why) == ("oom: out of memory", "goes on from its checkpoint")
    assert page.splitlines()[0] == "30 runs: 1 done, 1 running, 27 queued, 1 failed"
    assert page.splitlines()[-1].endswith("oom: out of memory")
    assert "and 26 more" in page
    assert Counter(run.state for run in without) == {"done": 1, "failed": 1, "queued": 1, "running": 1}
    assert status(tmp_path, suite)[3].state == "queued"
    with pytest.raises(UserError, match="no such folder"):
        status(tmp_path / "nowhere")


def test_status_says_which_job_a_run_waits_for(tmp_path, monkeypatch):
    suite, _ = cells_and_records(tmp_path)
    printed = "77_2|PENDING|(Resources)|0:00\n77_1|RUNNING|n3|1:02\n78|RUNNING|n4|9:99\n"
    monkeypatch.setattr(slurm, "_call", lambda words, text=None: "77" if words[0] == "sbatch" else printed)
    slurm.submit("", output=tmp_path, suite=DEMO, shares=3)
    states = status(tmp_path, suite)
    assert states[4].why == "job 77_2 PENDING (Resources)"
    assert states[6].why == "job 77_1 runs on n3 since 1:02"
    assert states[5].why == ""
    assert "job 77_1 runs on n3" in render(states, details=99)


def test_who_looks_for_long_does_not_take_a_run_from_its_worker(tmp_path):
    """As `status` does where the machine is so busy that it is stopped in the middle of a look."""
    with open(tmp_path / ".lock", "w+") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        threading.Timer(0.3, lambda: fcntl.flock(looking, fcntl.LOCK_UN)).start()
        with exclusive(tmp_path) as mine, exclusive(tmp_path) as twice:
            assert mine
            assert not twice


def test_looking_does_not_take_a_run_from_its_worker(tmp_path):
    """`status` in a loop beside a process that takes and leaves the lock: it gets it every time."""
    looks = f"from tl_research.suites.status import is_held\nwhile True: is_held({str(tmp_path)!r})"
    (tmp_path / ".lock").touch()
    looking = subprocess.Popen([sys.executable, "-c", looks], env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        deadline = time.monotonic() + 60
        while True:  # until it has begun to look
            with open(tmp_path / ".lock") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    break
            assert time.monotonic() < deadline
        for _ in range(200):
            with exclusive(tmp_path) as mine:
                assert mine
                assert is_held(tmp_path)
    finally:
        looking.kill()
        looking.wait()
