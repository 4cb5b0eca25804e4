"""Runs of two gloo processes: one pair of them goes through every method, and has to train what one process trains."""

import os
import shutil
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.contracts.chosen import chosen
from tests.contracts.problem import LABELLED
from tests.pair import assert_resumed_alike, config_of, everything, make_starts, trained
from tl_research.cli import main
from tl_research.config import compose, run_id
from tl_research.data.sampling.uniform import BatchPlan
from tl_research.errors import ConfigError
from tl_research.parallel import launch
from tl_research.registry import METHODS
from tl_research.runs.experiment import run
from tl_research.runs.record import blank_record, read_record
from tl_research.storage.checkpoints import load_model_file
from tl_research.suites import worker

#: On a loaded machine two processes wait for each other at every step.
pytestmark = pytest.mark.timeout(1800)
ALL = chosen(LABELLED)
#: Batch normalisation has the statistics of a rank's own rows.
OF_ITS_OWN_ROWS = ("norm_only", "stoch_norm", "tent", "eata")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("two"))
    make_starts(folder, ALL)
    return launch.on_every_device(everything, (folder, ALL), devices=2)


@pytest.mark.slow
@pytest.mark.parametrize("method", ALL)
def test_two_processes_train_what_one_does(method, pair, tmp_path):
    """To rounding, over a whole run with its stages, where a step has the same rows; and both ranks end bit-equal."""
    found = pair["methods"][method]
    if isinstance(found, Exception):
        raise found
    state, differs, record = found
    assert differs == []
    assert record.environment["processes"] == 2
    alone, _, of_one = trained(config_of(method, tmp_path, ranks=1))
    assert state.keys() == alone.keys()
    if method in OF_ITS_OWN_ROWS:
        return
    for name, value in alone.items():
        if "queue." in name:
            continue  # its keys stand in the order of the ranks
        torch.testing.assert_close(state[name], value, rtol=1e-4, atol=2e-6, msg=lambda m, name=name: f"{name}: {m}")
    assert record.metrics["last"].keys() == of_one.metrics["last"].keys()
    for key, value in of_one.metrics["last"].items():
        assert record.metrics["last"][key] == pytest.approx(value, rel=1e-3, abs=1e-4), key


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dann", "deep_coral", "dan", "group_dro", "fine_tune"])
def test_a_target_of_fewer_rows_than_ranks_and_batches(method, pair):
    assert pair["tiny"][method] == []


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dann", "fine_tune"])
def test_two_ranks_killed_and_resumed_equal_the_uninterrupted(method, pair):
    assert_resumed_alike(pair["resumed"][method])


FRAGILE = '''
import os
from dataclasses import dataclass
from pathlib import Path
from tl_research.parallel import ranks
from tl_research.config import MethodConfig
from tl_research.methods.baseline.source_only import SourceOnly
from tl_research.registry import register_method

@dataclass
class FragileConfig(MethodConfig):
    name: str = "fragile"

@register_method("fragile", config=FragileConfig, family="baseline", settings=("unsupervised",), paper="none")
class Fragile(SourceOnly):
    """Fails on rank 1 while a file is there."""

    def training_step(self, batch, batch_idx):
        if ranks.rank() == 1 and batch_idx == 2 and Path(os.environ["FRAGILE"]).exists():
            raise ArithmeticError("rank 1 has had enough")
        return super().training_step(batch, batch_idx)
'''


@pytest.mark.slow
def test_a_rank_fails_in_a_worker_and_the_command_does_it_again(tmp_path, monkeypatch, capsys):
    """No hang, one record with the cause; then the same run by the command line: one record, one tracked run."""
    plugin, bad = tmp_path / "fragile.py", tmp_path / "bad"
    plugin.write_text(FRAGILE)
    bad.touch()
    monkeypatch.setenv("TL_RESEARCH_PLUGINS", str(plugin))
    monkeypatch.setenv("FRAGILE", str(bad))
    monkeypatch.delenv("MASTER_PORT", raising=False)  # of a group that a test before has made
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    words = [
        "data.name=simulated_market", "data.n_source=95", "data.n_target=85", "data.batch_size=8", "encoder.name=mlp",
        "method.name=fragile", "trainer.max_epochs=2", "trainer.devices=2", "trainer.strategy=ddp",
        "trainer.accelerator=cpu", f"output={tmp_path / 'runs'}",
    ]  # fmt: skip
    config = compose(None, words)
    record = blank_record(config, run_id=run_id(config), suite="s", family="baseline")
    folder = tmp_path / "runs" / record.run_id
    assert worker.carry_out(worker.run_experiment, {"folder": str(folder), "record": asdict(record)}) == "failed"
    assert read_record(folder).message == "ArithmeticError: rank 1 has had enough"
    assert "in the process of rank 1" in capsys.readouterr().err
    bad.unlink()
    assert main(["fit", *words]) == 0
    done = read_record(folder)
    assert done.status == "ok"
    assert done.environment["processes"] == 2
    assert len(list((folder / "wandb").glob("offline-run-*"))) == 2  # one of each attempt
    assert launch.process_rank() == 0
    assert "MASTER_PORT" not in os.environ


# What is refused


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trainer.strategy=ddp_spawn"], r"trainer\.strategy: got 'ddp_spawn', wants auto or ddp"),
        (["trainer.strategy=dp"], r"trainer\.strategy: got 'dp'; did you mean 'ddp'"),
    ],
)
def test_strategies_that_are_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        compose(None, words)


def small(output: Path, *overrides: str):
    words = ["data.n_source=95", "data.n_target=85", "encoder.name=mlp", "trainer.max_epochs=1", f"output={output}"]
    words += ["wandb.mode=disabled", "trainer.accelerator=cpu", "data.name=simulated_market", "trainer.threads=1"]
    return compose(None, [*words, *overrides])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trainer.precision=16-mixed"], r"trainer\.precision: got '16-mixed', wants bf16-mixed or 32-true"),
        (["trainer.num_nodes=2"], r"trainer\.num_nodes: got 2, wants 1, or a start by srun or torchrun"),
    ],
)
def test_what_this_machine_cannot_do_is_said_before_anything_starts(words, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        run(small(tmp_path, *words))


def test_another_number_of_processes_than_srun_has_started(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")
    monkeypatch.setenv("SLURM_PROCID", "0")
    with pytest.raises(ConfigError, match=r"got 2 processes, but srun or torchrun has started 3"):
        run(small(tmp_path, "trainer.devices=2"))


def test_the_first_error_is_told_and_a_kill_before_all(tmp_path):
    """What the others write afterwards is that they have lost the first."""
    for number, (rank, error) in enumerate([(2, ArithmeticError("enough")), (0, RuntimeError("Connection closed"))]):
        launch._write(tmp_path / f"{rank}.error", (error, "the traceback"))
        os.utime(tmp_path / f"{rank}.error", ns=(number, number))
    death = SimpleNamespace(error_index=0, exit_code=1)
    first = launch._first_error(tmp_path, death)
    assert (type(first), str(first)) == (ArithmeticError, "enough")
    assert first.__notes__ == ["in the process of rank 2:\nthe traceback"]
    death.signal_name = "SIGKILL"
    assert str(launch._first_error(tmp_path, death)) == "the process of rank 0 ended by SIGKILL"


def test_a_rank_of_its_own_group_is_not_found_by_srun_or_torchrun(monkeypatch, tmp_path):
    for name, value in {
        "RANK": "3",
        "WORLD_SIZE": "4",
        "TORCHELASTIC_RUN_ID": "test",
        "SLURM_STEP_NUM_TASKS": "4",
    }.items():
        monkeypatch.setenv(name, value)
    assert launch.is_one_of_several_tasks()
    assert launch.environments() == []
    monkeypatch.setenv("TL_RESEARCH_PROCESSES", "2")
    assert not launch.is_one_of_several_tasks()
    assert len(launch.environments()) == 1
    assert not launch.is_to_be_started(small(tmp_path, "trainer.devices=2"))


# The batches of two ranks


@pytest.mark.parametrize(("rows", "size"), [(1, 4), (2, 4), (3, 2), (7, 2), (64, 8)])
def test_ranks_share_a_pass_and_every_pass_is_shuffled_anew(rows, size):
    plans = [BatchPlan(rows, size, seed=0, side="source", rank=rank, world_size=2) for rank in range(2)]
    assert plans[0].batches == plans[1].batches
    passes = []
    for number in range(3):
        steps = range(number * plans[0].batches, (number + 1) * plans[0].batches)
        drawn = [[plan.batch(step).tolist() for step in steps] for plan in plans]
        assert [len(batch) for batch in drawn[0]] == [len(batch) for batch in drawn[1]]
        flat = [row for batches in drawn for batch in batches for row in batch]
        assert set(flat) == set(range(rows))
        assert len(flat) - rows in (0, 1)  # the one that fills up an odd number
        passes.append(flat)
    if rows > 3:
        assert passes[0] != passes[1] != passes[2]


# Accumulation, clipping, compilation


def test_accumulated_batches_are_one_batch(tmp_path):
    """Four batches of 16 make the step of one of 64, for a loss that is a mean over rows."""
    plain = ["optimizer.name=sgd", "optimizer.lr=0.1", "trainer.max_epochs=3"]
    one, *_ = trained(small(tmp_path / "one", "data.batch_size=64", *plain))
    four, *_ = trained(small(tmp_path / "four", "data.batch_size=16", "trainer.accumulate_grad_batches=4", *plain))
    start, *_ = trained(small(tmp_path / "still", "data.batch_size=64", *plain[:2], "optimizer.lr=1e-12"))
    for name, value in one.items():
        torch.testing.assert_close(four[name], value, rtol=1e-5, atol=1e-6)
        assert (value - start[name]).abs().max() > 1e-4


def test_a_step_is_clipped_to_the_norm(tmp_path):
    """One step of plain gradient descent at rate 1 is the gradient, whose norm is then the one asked for."""
    step = ["data.batch_size=64", "optimizer.name=sgd", "optimizer.lr=1"]
    start, *_ = trained(small(tmp_path / "a", *step[:2], "optimizer.lr=1e-12"))
    clipped, *_ = trained(small(tmp_path / "b", *step, "trainer.gradient_clip_val=0.01"))
    norm = sum((clipped[name] - start[name]).square().sum() for name in start).sqrt()
    assert norm.item() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler")
def test_compiled_encoder_and_head_train_the_same_under_the_same_names(tmp_path):
    plain, _, of_plain = trained(small(tmp_path, "method.name=deep_coral", "optimizer.name=sgd"))
    compiled, _, of_compiled = trained(
        small(tmp_path, "method.name=deep_coral", "optimizer.name=sgd", "trainer.compile=true")
    )
    assert list(compiled) == list(plain)
    kept = [load_model_file(tmp_path / record.run_id)["model"] for record in (of_plain, of_compiled)]
    assert list(kept[0]) == list(kept[1])
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-4, atol=1e-5)
