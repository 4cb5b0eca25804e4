import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tl_research.errors import ConfigError
from tl_research.runs.record import Record, read_record, write_record
from tl_research.storage.lock import exclusive
from tl_research.suites import runner
from tl_research.suites.runner import WorkerError, run_suite
from tl_research.suites.suite import load_suite
from tl_research.suites.worker import carry_out

STUB = """
import ctypes, json, os, signal, subprocess, sys, time
from pathlib import Path
from tl_research.runs.record import Record, write_record


class OutOfMemoryError(RuntimeError):
    pass


def run(config, *, suite=""):
    folder = Path(os.readlink("/proc/self/fd/1")).parent  # the log is stdout
    act = config["wandb"]["tags"][0]
    with open(Path(config["output"]) / "executed", "a") as file:
        file.write(f"{folder.name} {act} {os.getpid()}\\n")
    data = config["data"]
    task = {"suite": suite, "dataset": data["name"], "sources": data["sources"], "target": data["target"]}
    record = Record(folder.name, "ok", "source_only", "baseline", "unsupervised", task, config["seed"], config)
    if act == "raise":
        raise ValueError("no such thing\\nsecond line")
    if act == "exit":
        print("last words", flush=True)
        os._exit(3)
    if act == "sys_exit":
        sys.exit(4)
    if act == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if act == "memory":
        raise MemoryError
    if act == "device_memory":
        raise OutOfMemoryError("CUDA out of memory")
    if act == "sleep":
        time.sleep(60)
    if act == "gate":
        while not (Path(config["output"]) / "open").exists():
            time.sleep(0.02)
    if act == "holds_gil":
        ctypes.PyDLL(None).sleep(60)
    if act == "child":
        subprocess.Popen(["sleep", "61"])
        time.sleep(60)
    if act == "no_record":
        return
    if act == "own_record":
        record.status, record.message = "diverged", "domain term is nan"
        write_record(folder, record)
        raise RuntimeError("nan")
    if act == "chatter":
        os.write(1, b'{"run_id": "x", "status": "ok"}\\n')
        print('{"ready": 1}')
        print("to stderr", file=sys.stderr)
    if act == "slow":
        time.sleep(0.15)
    assert "torch" not in sys.modules
    write_record(folder, record)
"""


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """Makes suites whose rows do what their label says; returns (path of the suite, folder of the runs)."""
    (tmp_path / "runner_stub.py").write_text(STUB)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    output = tmp_path / "runs"
    output.mkdir()

    def make(*acts, seeds=1):
        rows = [
            {
                "name": "source_only",
                "label": f"{act} {i}",
                "with": {"wandb": {"tags": [act]}, "trainer": {"max_epochs": i + 1}},
            }
            for i, act in enumerate(acts)
        ]
        tree = {"name": "stub", "common": {"data": {"name": "simulated_market"}}, "seeds": seeds}
        path = tmp_path / "suite.yaml"
        path.write_text(json.dumps(tree | {"tasks": ["old_market->new_market"], "methods": rows}))
        return load_suite(path), output

    return make


def start(suite, output, **options):
    return run_suite(suite, output=output, run="runner_stub:run", **options)


def executed(output) -> list[list[str]]:
    path = output / "executed"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def records(suite, output):
    return {cell.label.split()[0]: read_record(output / cell.run_id) for cell in suite.cells(output)}


def test_what_goes_wrong_costs_one_run_and_is_recorded(stub):
    acts = ("raise", "exit", "sys_exit", "kill", "memory", "device_memory", "sleep", "no_record", "own_record")
    suite, output = stub("slow", *acts, "chatter")
    summary = start(suite, output, jobs=2, timeout=5)
    assert (summary.ok, summary.skipped, summary.elsewhere, summary.interrupted) == (2, 0, 0, False)
    assert summary.failed == {"failed": 5, "oom": 2, "timeout": 1, "diverged": 1}
    found = records(suite, output)
    assert {act: record.status for act, record in found.items()} == {
        "slow": "ok",
        "raise": "failed",
        "exit": "failed",
        "sys_exit": "failed",
        "kill": "failed",
        "memory": "oom",
        "device_memory": "oom",
        "sleep": "timeout",
        "no_record": "failed",
        "own_record": "diverged",
        "chatter": "ok",
    }
    assert found["raise"].message == "ValueError: no such thing"
    assert "exit code 3" in found["exit"].message
    assert "last words" in found["exit"].message
    assert found["sys_exit"].message == "SystemExit: 4"
    assert "SIGKILL" in found["kill"].message
    assert found["sleep"].message == "ended after 5 s"
    assert 5 <= found["sleep"].seconds < 50  # it would sleep for 60
    assert "without a record" in found["no_record"].message
    assert found["own_record"].message == "domain term is nan"
    for record in found.values():
        assert record.task == {
            "suite": "stub",
            "dataset": "simulated_market",
            "sources": ["old_market"],
            "target": "new_market",
        }
        assert (record.method, record.family, record.setting) == ("source_only", "baseline", "unsupervised")

    by_label = {cell.label.split()[0]: cell.run_id for cell in suite.cells(output)}
    assert "second line" in (output / by_label["raise"] / "log.txt").read_text()
    log = (output / by_label["chatter"] / "log.txt").read_text().splitlines()
    assert {'{"run_id": "x", "status": "ok"}', '{"ready": 1}', "to stderr"} == set(log)

    again = start(suite, output, jobs=2, timeout=5)
    assert (again.ok, again.skipped, sum(again.failed.values())) == (0, 2, 9)
    times = Counter(act for _, act, _ in executed(output))
    assert times.pop("slow") == times.pop("chatter") == 1
    assert set(times.values()) == {2}


def test_a_worker_is_used_again_unless_its_run_ran_out_of_memory(stub):
    suite, output = stub("ok", "raise", "ok", "memory", "ok")
    start(suite, output, jobs=1)
    pids = [pid for *_, pid in executed(output)]
    assert pids[0] == pids[1] == pids[2] == pids[3] != pids[4]


def test_a_kill_by_the_kernel_for_want_of_memory_is_told_apart(stub, monkeypatch):
    suite, output = stub("kill")
    kills = iter(range(100))
    monkeypatch.setattr(runner, "_oom_kills", lambda: next(kills))
    assert start(suite, output, jobs=1).failed == {"oom": 1}
    assert records(suite, output)["kill"].status == "oom"


def in_another_process(suite, output, answer: Path, **options):
    """A runner of its own; its summary goes to the file `answer`."""

    def target():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        summary = start(suite, output, **options)
        answer.write_text(json.dumps(vars(summary)))

    process = multiprocessing.get_context("fork").Process(target=target, daemon=True)
    process.start()
    return process


def wait_until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def is_alive(pid) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def parent_of(pid) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[1])


def finished(suite, output) -> dict[str, int]:
    # Not through suite.cells: composing them takes longer than a stub run on a busy machine.
    return {path.parent.name: path.stat().st_mtime_ns for path in output.glob("*/result.json")}


def test_kill_9_of_the_runner_loses_nothing_finished(stub, tmp_path):
    suite, output = stub(*["slow"] * 10, *["gate"] * 10)
    process = in_another_process(suite, output, tmp_path / "answer", jobs=2)
    # At the gate, which no slow machine passes before the kill.
    wait_until(lambda: len(executed(output)) == 12)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    wait_until(lambda: not any(is_alive(pid) for *_, pid in executed(output)), seconds=30)
    before = finished(suite, output)
    assert len(before) == 10
    (output / "open").touch()
    summary = start(suite, output, jobs=2)
    assert (summary.ok, summary.skipped, summary.failed) == (20 - len(before), len(before), {})
    times = Counter(name for name, *_ in executed(output))
    assert len(times) == 20
    assert all(times[name] == 1 for name in before)
    after = finished(suite, output)
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("act", ["sleep", "holds_gil"])
def test_workers_end_with_the_runner_in_the_middle_of_a_run(stub, tmp_path, act):
    suite, output = stub(act)
    process = in_another_process(suite, output, tmp_path / "answer", jobs=1)
    wait_until(lambda: executed(output))
    pid = executed(output)[0][2]
    assert is_alive(pid)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    wait_until(lambda: not is_alive(pid), seconds=30)
    assert records(suite, output)[act] is None


def test_kill_9_of_a_worker_costs_its_run_alone(stub, tmp_path):
    suite, output = stub("sleep", *["slow"] * 5)
    process = in_another_process(suite, output, tmp_path / "answer", jobs=2)
    wait_until(lambda: any(act == "sleep" for _, act, _ in executed(output)))
    os.kill(next(int(pid) for _, act, pid in executed(output) if act == "sleep"), signal.SIGKILL)
    process.join()
    summary = json.loads((tmp_path / "answer").read_text())
    assert (summary["ok"], summary["failed"]) == (5, {"failed": 1})


def test_ctrl_c_ends_the_workers_and_the_next_start_goes_on(stub, tmp_path):
    suite, output = stub(*["slow"] * 5, *["gate"] * 5)
    process = in_another_process(suite, output, tmp_path / "answer", jobs=2)
    wait_until(lambda: len(executed(output)) == 7)
    os.kill(process.pid, signal.SIGINT)
    process.join(timeout=60)
    assert process.exitcode == 0
    summary = json.loads((tmp_path / "answer").read_text())
    assert summary["interrupted"]
    assert not any(is_alive(pid) for *_, pid in executed(output))
    before = finished(suite, output)
    assert len(before) == 5
    (output / "open").touch()
    again = start(suite, output, jobs=2)
    assert (again.ok, again.skipped, again.interrupted) == (5, 5, False)


def test_two_runners_on_one_folder_run_nothing_twice(stub, tmp_path):
    suite, output = stub("gate", *["slow"] * 5, seeds=8)
    answers = [tmp_path / "first", tmp_path / "second"]
    processes = [in_another_process(suite, output, answer, jobs=2) for answer in answers]
    # Until then every worker waits at a gate: whoever comes second finds the first runs taken.
    wait_until(lambda: {parent_of(pid) for *_, pid in executed(output)} >= {process.pid for process in processes})
    (output / "open").touch()
    for process in processes:
        process.join()
    assert all(read_record(output / cell.run_id).status == "ok" for cell in suite.cells(output))
    assert Counter(Counter(name for name, *_ in executed(output)).values()) == {1: 48}
    summaries = [json.loads(answer.read_text()) for answer in answers]
    assert all(not summary["failed"] for summary in summaries)
    assert sum(summary["elsewhere"] for summary in summaries) > 0, "the two never met: the test shows nothing"


def test_a_run_that_another_process_holds_is_left_alone(stub):
    suite, output = stub("ok", "ok")
    held = suite.cells(output)[0].run_id
    with exclusive(output / held) as mine, exclusive(output / held) as twice:
        assert mine
        assert not twice
        summary = start(suite, output, jobs=1)
    assert (summary.ok, summary.elsewhere) == (1, 1)
    assert read_record(output / held) is None
    with exclusive(output / held) as again:
        assert again


def test_the_end_of_the_pipe_ends_a_run_and_what_it_started(stub):
    """Without the kernel's help: the worker's parent, this test, lives on."""
    suite, output = stub("child")
    cell = suite.cells(output)[0]
    worker = runner._Worker("runner_stub:run", 1)
    pool = runner._Pool(suite.name, output, run="", threads=1, timeout=None)
    worker.hand_out(cell, pool._job(cell))
    wait_until(lambda: executed(output))
    pid = executed(output)[0][2]
    children = Path(f"/proc/{pid}/task/{pid}/children")
    wait_until(lambda: children.read_text().split())
    child = children.read_text().split()[0]
    os.close(worker._jobs)
    worker._jobs = -1
    wait_until(lambda: not is_alive(pid) and not is_alive(child), seconds=30)
    worker.kill()


def test_an_ok_record_is_never_replaced_by_a_crash(stub):
    suite, output = stub("exit")
    cell = suite.cells(output)[0]
    pool = runner._Pool(suite.name, output, run="", threads=1, timeout=None)
    blank = runner._blank_record(cell, suite.name)
    write_record(output / cell.run_id, Record(**{**vars(blank), "status": "ok"}))
    assert pool._record(cell, "failed", "crash", 1.0) == "ok"
    assert read_record(output / cell.run_id).status == "ok"


def test_a_run_finished_since_it_was_handed_out_is_not_repeated(stub):
    suite, output = stub("ok")
    cell = suite.cells(output)[0]
    blank = runner._blank_record(cell, suite.name)
    job = {"folder": str(output / cell.run_id), "record": vars(blank)}
    calls = []
    assert carry_out(lambda config, *, suite: calls.append(config), job) == "failed"
    write_record(output / cell.run_id, Record(**{**vars(blank), "status": "ok"}))
    assert carry_out(lambda config, *, suite: calls.append(config), job) == "ok"
    assert calls == [blank.config]


def test_a_worker_that_cannot_start_is_one_error(stub, tmp_path):
    suite, output = stub("ok")
    with pytest.raises(WorkerError, match="no_such_module"):
        run_suite(suite, output=output, run="no_such_module:run", jobs=1)
    assert [path for path in output.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("options", [{"jobs": 0}, {"timeout": 0.0}, {"threads_per_job": 0}])
def test_options_out_of_range_are_refused(stub, options):
    suite, output = stub("ok")
    with pytest.raises(ConfigError, match=next(iter(options))):
        start(suite, output, **options)


def test_the_default_run_is_the_experiment(tmp_path):
    path = tmp_path / "suite.yaml"
    tree = {
        "name": "tiny",
        "common": {
            "data": {"name": "simulated_market", "n_source": 60, "n_target": 60},
            "encoder": {"name": "linear"},
            "trainer": {"max_epochs": 2, "accelerator": "cpu"},
            "wandb": {"mode": "disabled"},
        },
        "tasks": ["old_market->new_market"],
        "methods": ["source_only", {"name": "fine_tune", "with": {"data": {"setting": "few_shot", "shots": 0.5}}}],
        "seeds": [3],
    }
    path.write_text(json.dumps(tree))
    suite = load_suite(path)
    summary = run_suite(suite, jobs=1, output=tmp_path / "runs")
    assert (summary.ok, summary.failed) == (2, {})
    for cell in suite.cells(tmp_path / "runs"):
        record = read_record(tmp_path / "runs" / cell.run_id)
        assert (record.status, record.seed, record.task["suite"]) == ("ok", 3, "tiny")
        assert record.environment["threads"] == 1
    assert run_suite(suite, jobs=1, output=tmp_path / "runs").skipped == 2


def test_the_worker_imports_no_torch_of_its_own():
    code = "import sys, tl_research.suites.worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=runner._environment(1), check=False).returncode == 0


def test_a_worker_whose_runner_is_gone_does_not_start():
    reads, writes = os.pipe()
    command = [sys.executable, "-m", "tl_research.suites.worker", "--run", "json:loads", "--parent", "1"]
    command += ["--jobs-fd", str(reads), "--answers-fd", str(writes)]
    ended = subprocess.run(
        command, pass_fds=(reads, writes), env=runner._environment(1), capture_output=True, text=True, check=False
    )
    os.close(reads)
    os.close(writes)
    assert ended.returncode == 1
    assert "the process that started this one has ended" in ended.stderr


if sys.platform != "linux":
    pytestmark = pytest.mark.skip(reason="the stubs look into /proc")
