"""An array, two ranks, a time limit, `scontrol requeue` and `scancel`: the numbers are those of an undisturbed run."""

import functools
import json
import subprocess

import pytest

from tests.slurm.conftest import call, wait_until
from tl_research.config import compose, run_id
from tl_research.runs.experiment import run
from tl_research.runs.record import read_history, read_record
from tl_research.suites.suite import load_suite

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(900)]

COMMON = {
    "data": {"name": "simulated_market", "n_source": 300, "n_target": 300, "batch_size": 32},
    "encoder": {"name": "mlp", "hidden": [16], "dropout": 0.2},
    "trainer": {"max_epochs": 2, "accelerator": "cpu", "threads": 1, "checkpoint_every_n_steps": 15},
    "wandb": {"mode": "disabled"},
}
#: Steps that a run must be caught in the middle of.
LONG = {"trainer": {"max_epochs": 40}}
TASKS = ["old_market->new_market"]


def numbers(folder):
    record = read_record(folder)
    assert record is not None, f"{folder}: no record"
    assert record.status == "ok", record.message
    return record.metrics, [{k: v for k, v in row.items() if "second" not in k} for row in read_history(folder)]


@functools.cache
def undisturbed(config: str, output: str):
    config = compose({**json.loads(config), "output": output})
    run(config)
    return numbers(f"{output}/{run_id(config)}")


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Numbers of the same run in this process."""
    output = str(tmp_path_factory.mktemp("undisturbed"))

    def of(config, **trainer):
        from omegaconf import OmegaConf

        tree = OmegaConf.to_container(config, resolve=True)
        tree.pop("output")
        tree["trainer"] |= trainer
        return undisturbed(json.dumps(tree, sort_keys=True), output)

    return of


def check_suite(cluster, path, expected):
    for cell in load_suite(path).cells(cluster.runs):
        assert numbers(cluster.runs / cell.run_id) == expected(cell.config)


def test_array_of_three_shares(cluster, expected):
    path = cluster.suite("three", common=COMMON, tasks=TASKS, methods=["source_only", "dann"], seeds=2)
    job = cluster.submit("benchmark", path, shares=3)
    assert cluster.wait_for_end(job) == ["COMPLETED"] * 3, cluster.logs()
    check_suite(cluster, path, expected)
    assert "4 done, 0 running, 0 queued, 0 failed" in cluster.tl_research("status", cluster.runs)
    assert "source_only" in cluster.tl_research("table", cluster.runs, "--suite", path)


def test_signal_stops_an_array_task_between_runs_once(cluster, expected):
    """SIGUSR1, as SLURM sends it before a limit: the run stops after a checkpoint, the next does not begin."""
    rows = [{"name": "dann", "with": LONG}, {"name": "deep_coral", "with": LONG}]
    path = cluster.suite("signal", common=COMMON, tasks=TASKS, methods=rows, seeds=1)
    job = cluster.submit("benchmark", path, shares=1, slow=0.1)
    folder = cluster.wait_for_checkpoint().parent
    call("scancel", "--signal=USR1", f"{job}_1")
    wait_until(lambda: cluster.restarts(job) == 1, what="requeue")
    # The last one or the one before: between two renames there is only that.
    assert {path.parent for path in cluster.runs.glob("*/resume*.ckpt")} == {folder}
    assert list(cluster.runs.glob("*/result.json")) == []
    assert "goes on from its checkpoint" in cluster.tl_research("status", cluster.runs)
    assert cluster.wait_for_end(job) == ["COMPLETED"], cluster.logs()
    assert cluster.restarts(job) == 1
    check_suite(cluster, path, expected)


def test_two_ranks_on_two_nodes_and_a_time_limit(cluster):
    """The limit is one minute, and the signal comes before it: the same job ends what it began."""
    groups = ("data", "encoder", "trainer")
    words = [f"{group}.{key}={value}" for group in groups for key, value in COMMON[group].items() if key != "dropout"]
    words += ["wandb.mode=disabled", "method.name=deep_coral", "trainer.max_epochs=40"]
    two = {"nodes": 2, "tasks": 1}
    limited = cluster.submit("fit", *words, "output=limited", slow=2, **two, time="1", notice=20)
    free = cluster.submit("fit", *words, "output=free", **two)
    assert "NumTasks=2" in call("scontrol", "show", "job", limited)
    wait_until(lambda: cluster.restarts(limited) == 1, what="requeue before the limit")
    # What is left would need less, but a busy machine may take a minute to import torch.
    call("scontrol", "update", f"JobId={limited}", "TimeLimit=10")
    for job in (free, limited):
        assert cluster.wait_for_end(job) == ["COMPLETED"], cluster.logs()
    assert (cluster.restarts(free), cluster.restarts(limited)) == (0, 1)
    (there,), (here,) = (list((cluster.folder / name).glob("*/result.json")) for name in ("free", "limited"))
    assert here.parent.name == there.parent.name
    assert numbers(here.parent) == numbers(there.parent)
    assert read_record(here.parent).config["trainer"]["strategy"] == "ddp"


@pytest.mark.parametrize("how", ["requeue", "cancel"])
def test_killed_by_the_scheduler(cluster, expected, how):
    rows = [{"name": "dann", "with": LONG}, "source_only"]
    path = cluster.suite(how, common=COMMON, tasks=TASKS, methods=rows, seeds=1)
    job = cluster.submit("benchmark", path, shares=1, slow=0.1)
    cluster.wait_for_checkpoint()
    if how == "requeue":
        call("scontrol", "requeue", f"{job}_1")
        wait_until(lambda: cluster.restarts(job) == 1, what="requeue")
    else:
        call("scancel", job)
        assert cluster.wait_for_end(job) == ["CANCELLED"]
        assert list(cluster.runs.glob("*/result.json")) == []
        job = cluster.submit("benchmark", path, shares=1)
    assert cluster.wait_for_end(job) == ["COMPLETED"], cluster.logs()
    check_suite(cluster, path, expected)


def test_a_real_squeue_is_understood(cluster):
    path = cluster.suite("held", common=COMMON, tasks=TASKS, methods=["source_only"], seeds=2)
    job = cluster.submit("benchmark", path, shares=2, options="--hold")
    assert cluster.tl_research("status", cluster.runs).count(f"job {job}_") == 2
    assert "JobHeldUser" in cluster.tl_research("status", cluster.runs)
    subprocess.run(["scancel", job], check=True, timeout=60)
