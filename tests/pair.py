"""What the tests of several devices do in one pair of gloo processes, which goes through many runs."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.distributed.tensor import DTensor

from tests.contracts.problem import is_source_free, method_config
from tl_research.config import run_id
from tl_research.parallel import ranks
from tl_research.registry import METHODS
from tl_research.runs import experiment
from tl_research.runs.record import read_history
from tl_research.runs.starting import source_stage
from tl_research.training.engines import Engine
from tl_research.training.resume import ResumeCheckpoint

#: An epoch is four steps, and the rows of a step are the same whether two ranks share them or one has them all.
BATCH = 16
#: Stages need two epochs, and the soup four; more teaches nothing.
EPOCHS = {"parameter": 4}


def config_of(method: str, output, *overrides: str, ranks: int = 2):
    """A tiny run by plain gradient descent, whose steps differ by rounding where the gradients do."""
    entry = METHODS.get(method)
    supervised = entry.settings[0] == "supervised"
    words = [
        "data.n_source=95",  # 64 for training
        f"data.n_target={95 if supervised else 85}",
        f"data.batch_size={BATCH // ranks}",
        f"trainer.max_epochs={EPOCHS.get(entry.family, 2)}",
        f"trainer.devices={ranks}",
        "trainer.strategy=ddp",
        "trainer.threads=1",
        "optimizer.name=sgd",
        "optimizer.lr=0.05",
    ]
    if ranks > 1 and is_source_free(method):
        words.append(f"method.start={start_of(method, output, *overrides)}")
    return method_config(method, output, *words, *overrides)


def start_of(method: str, output, *overrides: str) -> Path:
    """Folder of the source run that a method begins with, which a process of its own makes before the pair begins."""
    alone = [word for word in overrides if not word.startswith("trainer.strategy=")]
    source = source_stage(config_of(method, Path(output) / "starts", *alone, ranks=1))
    return Path(source.output) / run_id(source)


def make_starts(output, methods: list[str]) -> None:
    """Carry out the source runs that methods of a pair begin with."""
    for method in filter(is_source_free, methods):
        experiment.run(source_stage(config_of(method, Path(output) / "starts", ranks=1)))


def trained(config) -> tuple[dict[str, torch.Tensor], list[str], experiment.Record]:
    """Carry out a run in this process; return its last state, the names that differ between the ranks, its record."""
    found = {}
    carry_out = Engine.run

    def run_and_look(engine, module):
        carry_out(engine, module)
        found["state"] = {name: whole(value).detach().clone() for name, value in module.state_dict().items()}
        found["differs"] = _differing(found["state"])

    Engine.run = run_and_look
    try:
        record = experiment.run(config)
    finally:
        Engine.run = carry_out
    return found["state"], found["differs"], record


def whole(value: torch.Tensor) -> torch.Tensor:
    """Every rank gets all of a tensor that is shared out."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def _differing(state: dict[str, torch.Tensor]) -> list[str]:
    # Running statistics are sent from rank 0 at the beginning of a step.
    both = {name: ranks.gather_rows(value[None]) for name, value in state.items() if "running_" not in name}
    return [name for name, (first, *others) in both.items() if any(not torch.equal(first, other) for other in others)]


def every_method(output: str, methods: list[str], *words: str) -> dict[str, tuple]:
    """Train each method; method -> what `trained` returns, or the error."""
    found = {}
    for method in methods:
        try:
            found[method] = trained(config_of(method, Path(output), *words))
        except Exception as error:  # the others are to be tried all the same
            found[method] = error
    return found


class Killed(BaseException):
    """As sudden as a signal."""


def everything(output: str, methods: list[str]) -> dict[str, dict]:
    """All that the pair does for the tests: one start pays for it."""
    folder = Path(output)
    return {
        "methods": every_method(output, methods),
        "tiny": {method: tiny(method, folder) for method in ("dann", "deep_coral", "dan", "group_dro", "fine_tune")},
        "resumed": {method: resumed(method, folder) for method in ("dann", "fine_tune")},
    }


def tiny(method: str, folder: Path, *words: str):
    """A target of fewer rows than ranks x batch, and with labels one row a class."""
    shots = ["data.shots=1"] if METHODS.get(method).settings[0] == "few_shot" else []
    try:
        return trained(config_of(method, folder, "data.n_target=10", *shots, *words))[1]
    except Exception as error:
        return error


def resumed(method: str, folder: Path, *more: str):
    """A run with dropout killed on both ranks behind every checkpoint, beside the undisturbed one."""
    words = ("trainer.checkpoint_every_n_steps=3", "encoder.dropout=0.3", "optimizer.name=adam", *more)
    whole = trained(config_of(method, folder / "whole", *words))
    config, save = config_of(method, folder / "killed", *words), ResumeCheckpoint.save

    def save_then_die(self, trainer):
        save(self, trainer)
        raise Killed

    ResumeCheckpoint.save = save_then_die
    kills = 0
    try:
        while True:
            try:
                again = trained(config)
                break
            except Killed:
                kills += 1
    finally:
        ResumeCheckpoint.save = save
    histories = [read_history(folder / part / whole[2].run_id) for part in ("whole", "killed")]
    return {"whole": whole, "again": again, "kills": kills, "histories": histories}


def assert_resumed_alike(found: dict) -> None:
    """What `resumed` found: killed at least twice, and bit for bit the run that was not, on both ranks."""
    assert found["kills"] >= 2
    (whole, _, record), (again, differs, resumed) = found["whole"], found["again"]
    assert differs == []
    assert resumed.metrics == record.metrics
    assert found["histories"][0] == found["histories"][1]
    assert all(torch.equal(whole[name], again[name]) for name in whole)
