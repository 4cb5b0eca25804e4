"""Contrastive pre-training: what its views are, and what a head on its encoder gains."""

from __future__ import annotations

from statistics import median

import pytest
import torch

from tests.contracts.problem import module_and_batch
from tl_research.config import compose
from tl_research.methods.step import Step
from tl_research.runs.experiment import run

DIGITS = {
    "data": {"name": "digits", "sources": ["upright"], "target": "shifted"},
    "encoder": {"name": "mlp", "hidden": [128, 64]},
    "optimizer": {"lr": 2e-3},
    "trainer": {"accelerator": "cpu", "checkpoint_every_seconds": None, "max_epochs": 40},
    "selection": {"every": 1000},
    "wandb": {"mode": "disabled"},
}


def accuracy(folder, method: str, seed: int, *words: str) -> float:
    few = ["data.setting=few_shot", "data.shots=1", "selection.rule=last"]
    record = run(compose(DIGITS, [f"method.name={method}", f"seed={seed}", f"output={folder}", *few, *words]))
    return record.metrics["last"]["target_test/accuracy"]


@pytest.mark.slow
def test_a_linear_head_gains_by_its_encoder(tmp_path):
    """One label per class, against the same network from random weights."""
    gains = []
    for seed in range(3):
        words = ("method.name=contrastive", "method.corruption=0.3", f"seed={seed}", f"output={tmp_path}")
        start = run(compose(DIGITS, words))
        words = (f"method.start={tmp_path}/{start.run_id}", "method.source_share=0", "optimizer.lr=0.01")
        gains.append(accuracy(tmp_path, "linear_probe", seed, *words) - accuracy(tmp_path, "target_only", seed))
    assert median(gains) > 0.02, gains


def views(corruption: float):
    module, batch = module_and_batch("contrastive")
    module.config.corruption = corruption
    step = Step(module, batch, module.phase(0))
    return module, batch, [module._view_of(step, "target", number)(batch.target.inputs) for number in (0, 1)]


def test_one_view_is_the_row_and_the_other_has_values_of_others():
    module, batch, (first, second) = views(0.6)
    rows = batch.target.inputs
    assert torch.equal(first, rows)
    replaced = second != rows
    assert replaced.float().mean().item() == pytest.approx(0.6, abs=0.05)
    others = module.others.target_numeric
    for column in range(rows.shape[1]):
        assert torch.isin(second[replaced[:, column], column], others[:, column]).all()


def test_what_is_replaced_depends_on_row_and_step_alone():
    module, batch, (_, second) = views(0.6)
    turned = Step(module, batch._replace(target=batch.target.map(lambda x: x.flip(0))), module.phase(0))
    again = module._view_of(turned, "target", 1)(batch.target.inputs.flip(0))
    assert torch.equal(again.flip(0), second)


def test_the_last_epoch_is_kept_and_the_head_is_as_it_was_drawn(tmp_path):
    record = run(compose(DIGITS, ["method.name=contrastive", "trainer.max_epochs=2", f"output={tmp_path}"]))
    assert {figures["epoch"] for figures in record.metrics.values()} == {1}
    assert not [name for name in record.metrics["last"] if "task" in name]
