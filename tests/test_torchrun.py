"""The command under torchrun: two processes of one agent, and two agents of one process each, as on two nodes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.fabric.plugins.environments.lightning import find_free_network_port
from omegaconf import OmegaConf

from tests.pair import config_of
from tests.test_multi_device import FRAGILE, small
from tl_research.cli import main
from tl_research.config import run_id
from tl_research.errors import ConfigError
from tl_research.parallel import launch, preemption
from tl_research.parallel.launch import cluster_plugins
from tl_research.runs.experiment import run
from tl_research.runs.record import read_record
from tl_research.storage.checkpoints import load_model_file
from tl_research.storage.lock import exclusive
from tl_research.suites.status import is_held

ROOT = Path(__file__).resolve().parents[1]
#: On a loaded machine a start takes a minute; an agent that hangs is ended.
SECONDS = 400


def torchrun(words, *, nodes: int = 1, environment=None) -> list[subprocess.CompletedProcess]:
    """`tl-research fit` in two processes: of one agent, or of `nodes=2` agents; what each agent has printed."""
    rendezvous = ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{find_free_network_port()}", "--rdzv-id=test"]
    command = [sys.executable, "-m", "torch.distributed.run", f"--nnodes={nodes}", f"--nproc-per-node={2 // nodes}"]
    command += [*rendezvous, "--local-addr=127.0.0.1", "-m", "tl_research.cli", "fit", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **(environment or {})}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    agents = [subprocess.Popen(command, env=environment, **pipes) for _ in range(nodes)]
    try:
        printed = [agent.communicate(timeout=SECONDS) for agent in agents]
    finally:
        for agent in agents:
            agent.terminate()  # which ends its processes
            agent.wait()
    return [subprocess.CompletedProcess(command, agent.returncode, *out) for agent, out in zip(agents, printed)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Record and weights of one process with the global batch."""
    config = config_of("deep_coral", tmp_path_factory.mktemp("one"), "selection.rule=last", ranks=1)
    record = run(config)
    return record, load_model_file(Path(config.output) / record.run_id)["model"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("nodes", [1, 2])
def test_torchrun_trains_what_one_process_does(nodes, alone, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    config = config_of("deep_coral", tmp_path / "runs", "selection.rule=last", "wandb.mode=offline")
    OmegaConf.save(config, recipe)
    done = torchrun([str(recipe), f"trainer.devices={2 // nodes}", f"trainer.num_nodes={nodes}"], nodes=nodes)
    assert [agent.returncode for agent in done] == [0] * nodes, done
    # The agents agree on who is the first; only rank 0 prints.
    assert "".join(agent.stdout for agent in done).count("record and weights:") == 1
    (folder,) = (path.parent for path in (tmp_path / "runs").glob("*/result.json"))
    record, (of_one, weights) = read_record(folder), alone
    assert (record.status, record.environment["processes"]) == ("ok", 2)
    assert len(list((folder / "wandb").glob("offline-run-*"))) == 1
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {folder.name}
    assert not list(folder.glob("resume*"))
    assert not is_held(folder)
    found = load_model_file(folder)["model"]
    assert found.keys() == weights.keys()
    for name, value in weights.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=2e-6, msg=lambda m, name=name: f"{name}: {m}")
    for key, value in of_one.metrics["last"].items():
        assert record.metrics["last"][key] == pytest.approx(value, rel=1e-3, abs=1e-4), key


WORDS = [
    "data.name=simulated_market", "data.n_source=95", "data.n_target=85", "data.batch_size=8", "encoder.name=mlp",
    "trainer.max_epochs=2", "trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu",
    "wandb.mode=disabled",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_an_error_on_one_rank_ends_the_others_and_is_the_one_that_is_told(tmp_path):
    plugin, bad = tmp_path / "fragile.py", tmp_path / "bad"
    plugin.write_text(FRAGILE)
    bad.touch()
    environment = {"TL_RESEARCH_PLUGINS": str(plugin), "FRAGILE": str(bad)}
    words = [*WORDS, "method.name=fragile", f"output={tmp_path / 'runs'}"]
    (done,) = torchrun(words, environment=environment)
    assert done.returncode == 1
    (folder,) = (tmp_path / "runs").iterdir()
    record = read_record(folder)
    assert (record.status, record.message) == ("failed", "ArithmeticError: rank 1 has had enough"), done.stderr
    assert not is_held(folder)
    told = [line for line in done.stderr.splitlines() if "Error: " in line and "ChildFailed" not in line]
    assert len(told) == 1, done.stderr
    assert "ArithmeticError: rank 1 has had enough" in told[0]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_rank_0_holds_the_lock_for_all(tmp_path):
    config = small(tmp_path, "trainer.devices=2", "trainer.strategy=ddp")
    recipe = tmp_path / "recipe.yaml"
    OmegaConf.save(config, recipe)
    with exclusive(tmp_path / run_id(config)) as mine:
        assert mine
        (done,) = torchrun([str(recipe)])
    assert done.returncode == 1
    assert done.stderr.count("another process is at work on this very run") == 1
    assert read_record(tmp_path / run_id(config)) is None


# Without processes


@pytest.fixture
def of_torchrun(monkeypatch):
    """The environment of one process of so many."""

    def make(world_size: int, rank: int = 0) -> None:
        names = {"TORCHELASTIC_RUN_ID": "test", "WORLD_SIZE": world_size, "RANK": rank, "LOCAL_RANK": rank}
        for name, value in names.items():
            monkeypatch.setenv(name, str(value))

    return make


@pytest.mark.parametrize(("started", "wanted"), [(3, 2), (2, 1)])
def test_another_number_of_processes_than_torchrun_has_started(started, wanted, of_torchrun, tmp_path):
    of_torchrun(started)
    with pytest.raises(ConfigError, match=rf"got {wanted} processes, but srun or torchrun has started {started}"):
        run(small(tmp_path, f"trainer.devices={wanted}"))


def test_a_suite_refuses_to_be_several_processes(of_torchrun, capsys):
    of_torchrun(2)
    assert main(["benchmark", "suite.yaml"]) == 2
    assert "started by torchrun as 2 processes" in capsys.readouterr().err


def test_one_torchrun_a_task_of_srun_is_torchruns(of_torchrun, monkeypatch):
    for name in preemption.RANK_VARIABLES:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    assert len(cluster_plugins()) == 1
    of_torchrun(4, rank=3)
    assert cluster_plugins() == []
    assert launch.process_rank() == 3
    assert launch.is_one_of_several_tasks()
