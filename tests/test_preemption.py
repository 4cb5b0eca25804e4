import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from tests.benchmark.test_runner import executed, records, start, stub  # noqa: F401  (a fixture)
from tl_research.cli import main
from tl_research.config import compose, run_id
from tl_research.parallel import preemption
from tl_research.parallel.launch import cluster_plugins
from tl_research.parallel.preemption import Preempted
from tl_research.runs.experiment import run, run_alone
from tl_research.runs.record import blank_record, read_history, read_record
from tl_research.storage.lock import exclusive
from tl_research.storage.names import RESUME_FILE
from tl_research.suites.worker import INTERRUPTED, carry_out
from tl_research.training import engines
from tl_research.training.stopping import StopWhenAsked

SMALL = {
    "data": {"name": "simulated_market", "n_source": 100, "n_target": 100, "batch_size": 25},
    "encoder": {"name": "mlp", "hidden": [8], "dropout": 0.3},
    "method": {"name": "dann"},
    "trainer": {"max_epochs": 4, "accelerator": "cpu", "checkpoint_every_seconds": None},
    "wandb": {"mode": "disabled"},
}


def configured(output, **trainer):
    return compose({**SMALL, "trainer": SMALL["trainer"] | trainer, "output": str(output)})


@pytest.fixture
def job(monkeypatch, tmp_path):
    """A SLURM job of one array task, with an scontrol that notes its words."""
    for name in [*preemption.RANK_VARIABLES, "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setattr(preemption, "_requeued", None)
    monkeypatch.setattr(preemption, "_asked", False)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=os.pathsep)
    (tmp_path / "bin").mkdir()
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/words\n')
    scontrol.chmod(0o755)
    handler = signal.getsignal(signal.SIGUSR1)
    yield lambda: (tmp_path / "words").read_text().splitlines() if (tmp_path / "words").exists() else []
    signal.signal(signal.SIGUSR1, handler)
    for late in threading.enumerate():
        if isinstance(late, threading.Timer):
            late.cancel()
            late.join(60)


def numbers(config):
    folder = os.path.join(config.output, run_id(config))
    rows = [{k: v for k, v in row.items() if "second" not in k} for row in read_history(folder)]
    return read_record(folder).metrics, rows


LOOKS = [(1, {}), (3, {}), (5, {}), (12, {}), (1, {"accumulate_grad_batches": 2}), (2, {"accumulate_grad_batches": 3})]


# Three batches an epoch: a look after each but the last, and one at the end of the epoch.
@pytest.mark.parametrize(("look", "trainer"), LOOKS)
def test_stopped_at_any_look_and_resumed_is_bit_identical(tmp_path, monkeypatch, look, trainer):
    undisturbed = configured(tmp_path / "undisturbed", **trainer)
    run(undisturbed)
    config = configured(tmp_path / "stopped", **trainer)
    with monkeypatch.context() as patch:
        looks = iter(range(1, 100))
        patch.setattr(preemption, "is_asked_to_stop", lambda: next(looks) >= look)
        with pytest.raises(Preempted):
            run(config)
    folder = tmp_path / "stopped" / run_id(config)
    assert (folder / RESUME_FILE).is_file()
    assert read_record(folder) is None
    assert run(config).status == "ok"
    assert numbers(config) == numbers(undisturbed)


@pytest.mark.parametrize("asked", [True, False])
def test_ranks_stop_together_at_every_tenth_batch_where_one_of_them_is_asked(job, monkeypatch, asked):
    """The one that is not asked itself saves as well: writing a checkpoint is a matter of all."""
    calls = []

    class Strategy:
        def reduce_boolean_decision(self, decision, all):
            calls.append((decision, all))
            return asked

    class Progress:
        is_last_batch = False

    trainer = SimpleNamespace(world_size=2, accumulate_grad_batches=1, strategy=Strategy())
    trainer.fit_loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=Progress))
    saved = []
    stop = StopWhenAsked(SimpleNamespace(save=saved.append))
    for batch in range(9):
        stop.on_train_batch_end(trainer, None, None, None, batch)
    assert calls == []
    with pytest.raises(Preempted) if asked else nullcontext():
        stop.on_train_batch_end(trainer, None, None, None, 9)
    assert calls == [(False, False)]  # any of them
    assert saved == [trainer] * asked


def test_the_signal_stops_a_single_run_which_requeues_its_job_once(tmp_path, job, monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "1")
    for name in ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"):
        monkeypatch.setenv(name, "0")
    config = configured(tmp_path / "runs")
    preemption.listen()
    os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGUSR1)
    assert preemption.is_asked_to_stop()
    with pytest.raises(Preempted):
        run_alone(config)
    assert job() == ["requeue 12"]
    folder = tmp_path / "runs" / run_id(config)
    assert list(folder.glob("hpc_ckpt*")) == []
    assert (folder / RESUME_FILE).is_file()


def test_an_array_task_is_requeued_by_its_own_name_once_and_by_task_0(job, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "11")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert preemption.requeue()
    assert job() == []
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert preemption.requeue()
    assert preemption.requeue()
    assert job() == ["requeue 11_3"]


def test_a_refused_requeue_is_said(job, tmp_path, capsys):
    (tmp_path / "bin" / "scontrol").write_text("#!/bin/sh\necho not permitted >&2\nexit 1\n")
    assert not preemption.requeue()
    assert "scontrol requeue 12: not permitted" in capsys.readouterr().err


def test_a_run_that_does_not_stop_is_requeued_at_half_of_the_notice(job, monkeypatch):
    monkeypatch.setenv(preemption.NOTICE, "0.2")
    preemption.listen()
    os.kill(os.getpid(), signal.SIGUSR1)
    deadline = time.monotonic() + 120
    while not job() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert job() == ["requeue 12"]


def test_a_fit_that_ends_within_half_of_the_notice_is_kept(tmp_path, job):
    """It has nothing to save half-way: to stop it would be to lose it."""
    tree = {**SMALL, "encoder": {"name": "identity"}, "method": {"name": "coral"}, "output": str(tmp_path / "runs")}
    preemption.listen()
    os.kill(os.getpid(), signal.SIGUSR1)
    assert preemption.is_asked_to_stop()
    assert run_alone(compose(tree)).status == "ok"
    assert job() == []


def test_a_fit_that_does_not_end_is_requeued_at_half_of_the_notice(tmp_path, job, monkeypatch):
    monkeypatch.setenv(preemption.NOTICE, "0.2")
    prepare, waited = engines.prepare, []

    def until_requeued(module, data):
        os.kill(os.getpid(), signal.SIGUSR1)
        deadline = time.monotonic() + 120
        while not job() and time.monotonic() < deadline:
            time.sleep(0.02)
        waited.append(job())
        prepare(module, data)

    monkeypatch.setattr(engines, "prepare", until_requeued)
    tree = {**SMALL, "encoder": {"name": "identity"}, "method": {"name": "coral"}, "output": str(tmp_path / "runs")}
    run_alone(compose(tree))
    assert waited == [["requeue 12"]]


def test_nothing_listens_outside_a_job(job, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID")
    before = signal.getsignal(signal.SIGUSR1)
    preemption.listen()
    assert signal.getsignal(signal.SIGUSR1) is before


def test_a_process_that_is_held_back_gets_the_signal_when_it_listens(job):
    code = "import sys, time; sys.stdout.write('up'); sys.stdout.flush(); sys.stdin.read(); "
    code += "from tl_research.parallel import preemption as p; p.listen(requeues=False); print(p.is_asked_to_stop())"
    with preemption.held_back():
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    assert process.stdout.read(2) == "up"
    process.send_signal(signal.SIGUSR1)
    assert process.communicate("")[0] == "True\n"


def test_the_runner_begins_no_other_run_and_says_what_is_left(stub, monkeypatch):  # noqa: F811
    suite, output = stub(*["slow"] * 6)
    with monkeypatch.context() as patch:
        patch.setattr(preemption, "is_asked_to_stop", lambda: len(list(output.glob("*/result.json"))) >= 2)
        summary = start(suite, output, jobs=1)
    assert 2 <= summary.ok <= 3
    assert (summary.left, summary.failed, summary.interrupted) == (6 - summary.ok, {}, False)
    assert start(suite, output, jobs=1).left == 0
    assert set(Counter(name for name, *_ in executed(output)).values()) == {1}


def test_shares_carry_out_every_run_once(stub):  # noqa: F811
    suite, output = stub(*["ok"] * 5)
    assert [start(suite, output, share=(i, 3)).ok for i in (1, 2, 3)] == [2, 2, 1]
    assert len(executed(output)) == 5
    assert all(record.status == "ok" for record in records(suite, output).values())


def test_a_stopped_suite_requeues_its_job_and_ends_with_a_code_of_its_own(stub, job, monkeypatch, capsys):  # noqa: F811
    suite, output = stub("ok", "ok")
    monkeypatch.setattr(preemption, "is_asked_to_stop", lambda: True)
    code = main(["benchmark", suite.path, "--output", str(output), "--share", "1/1"])
    assert code == preemption.EXIT_CODE
    assert job() == ["requeue 12"]
    assert "2 left for the next start" in capsys.readouterr().err
    assert executed(output) == []


class SIGTERMException(SystemExit):
    """Named as Lightning's."""


@pytest.mark.parametrize("error", [Preempted, SIGTERMException])
def test_a_stopped_run_has_no_record(tmp_path, error):
    config = configured(tmp_path)
    record = blank_record(config, run_id=run_id(config), suite="s", family="baseline")

    def stopped(config, *, suite):
        raise error

    assert carry_out(stopped, {"folder": str(tmp_path / "run"), "record": vars(record)}) == INTERRUPTED
    assert read_record(tmp_path / "run") is None


def test_who_waits_for_another_process_stops_too(tmp_path, monkeypatch):
    from tl_research.runs.starting import find_start, source_stage

    tree = SMALL | {"method": {"name": "fine_tune", "start": "cached"}, "output": str(tmp_path)}
    config = compose(tree | {"data": SMALL["data"] | {"setting": "few_shot", "shots": 5}})
    monkeypatch.setattr(preemption, "_asked", True)
    source = source_stage(config)
    with exclusive(tmp_path / run_id(source)), pytest.raises(Preempted):
        find_start(config, lambda source: pytest.fail("another process is at it"))


def test_a_suite_refuses_to_be_several_tasks(job, monkeypatch, capsys):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    assert main(["benchmark", "suite.yaml"]) == 2
    assert "2 tasks of one job step" in capsys.readouterr().err


def test_a_worker_forgets_the_tasks_of_its_job(job, monkeypatch):
    for name in preemption.RANK_VARIABLES:
        monkeypatch.setenv(name, "2")
    (plugin,) = cluster_plugins()
    assert not plugin.auto_requeue
    preemption.leave_ranks()
    assert cluster_plugins() == []
    assert not [name for name in preemption.RANK_VARIABLES if name in os.environ]
    assert preemption.in_job()
