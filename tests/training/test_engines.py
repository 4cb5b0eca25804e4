"""Engines: a fitted run makes no step, warns of nothing, and a plugin may bring an engine of its own."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import lightning as L
import pytest
import torch

from tests.contracts.problem import method_config
from tl_research.config import MethodConfig
from tl_research.methods.base import AdaptationModule
from tl_research.registry import METHODS, register_method
from tl_research.runs.experiment import run
from tl_research.runs.record import read_history
from tl_research.training.engines import ENGINES, Engine, register_engine

SMALL = ("data.n_source=300", "data.n_target=300", "trainer.threads=1", "trainer.max_epochs=3")


@pytest.mark.parametrize("method", ["coral", "shallow", "meda", "easy_tl", "tradaboost"])
def test_a_fitted_run_makes_no_step_and_no_loop(method, tmp_path, monkeypatch):
    monkeypatch.setattr(L.Trainer, "fit", lambda *args, **kwargs: pytest.fail("there is nothing to train"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module=r"(lightning|torch|sklearn|scipy)\.(?!pytorch\.(loops|core))")
        record = run(method_config(method, tmp_path, *SMALL))
    (row,) = read_history(tmp_path / record.run_id)
    assert (row["epoch"], row["step"]) == (0, 0)
    assert "train_samples_per_s" not in record.throughput
    assert record.throughput["predict_samples_per_s"] > 0
    assert record.environment["device"] == "cpu"
    assert not list((tmp_path / record.run_id).glob("resume*"))


def test_a_head_that_is_trained_takes_steps(tmp_path):
    record = run(method_config("coral", tmp_path, *SMALL, "method.head=mlp"))
    history = read_history(tmp_path / record.run_id)
    assert [row["epoch"] for row in history] == [0, 1, 2]
    assert history[-1]["step"] > 0
    assert "alignment" in record.data["method"]


def test_an_engine_of_a_plugin_carries_rounds_out(tmp_path):
    """As a federated method would: whole rounds in the place of batches, one row of the history per round."""

    @register_engine("rounds")
    class Rounds(Engine):
        def carry_out(self, module):
            with self.on_devices(module):
                for _ in range(self.config.trainer.max_epochs):
                    module.round(self.data.sides["source"])
                    self.measure(module)
                self.keep(module)

        def throughput(self):
            return {"rounds": float(self.config.trainer.max_epochs)}

    @dataclass
    class Config(MethodConfig):
        name: str = "by_rounds"

    class ByRounds(AdaptationModule):
        """One gradient step on all rows of the source per round."""

        engine = "rounds"

        def round(self, source):
            loss = self.task_loss(self.encode(source))
            for parameter, slope in zip(self.parameters(), torch.autograd.grad(loss, list(self.parameters()))):
                parameter.data -= 0.5 * slope

    try:
        register_method(
            "by_rounds", config=Config, family="baseline", settings=("unsupervised",), paper="none", encoder="identity"
        )(ByRounds)
        record = run(method_config("by_rounds", tmp_path, *SMALL, "selection.rule=source_val"))
    finally:
        METHODS._entries.pop("by_rounds", None)
        ENGINES.pop("rounds", None)
    history = read_history(tmp_path / record.run_id)
    assert [row["epoch"] for row in history] == [0, 1, 2]
    losses = [row["source_val/log_loss"] for row in history]
    assert losses == sorted(losses, reverse=True)
    assert record.throughput["rounds"] == 3
    best = max(history, key=lambda row: (row["source_val/accuracy"], -row["source_val/log_loss"]))
    assert record.metrics["source_val"]["epoch"] == best["epoch"]
