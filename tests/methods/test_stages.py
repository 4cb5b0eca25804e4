"""Stages of one fit: what is exact about them."""

import pytest
import torch

from tests.contracts.problem import method_config
from tl_research.checkpoint import load_model_file
from tl_research.config import run_id
from tl_research.experiment import run
from tl_research.methods.parameter.stages import ParameterMethod
from tl_research.registry import METHODS
from tl_research.results import read_record

STAGED = [entry.name for entry in METHODS.entries() if issubclass(entry.target, ParameterMethod)]
#: An encoder with everything that has a state: dropout draws, batch norm counts.
SHORT = (
    "trainer.max_epochs=4", "data.n_source=300", "data.n_target=300", "encoder.hidden=[12,8]", "encoder.dropout=0.2",
    "encoder.batch_norm=true", "optimizer.weight_decay=0.01", "optimizer.schedule=cosine", "selection.rule=last",
)  # fmt: skip


def weights(output, record) -> dict[str, torch.Tensor]:
    return load_model_file(output / record.run_id)["model"]


def assert_equal(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


@pytest.mark.parametrize("setting", ["few_shot", "supervised"])
@pytest.mark.parametrize("method", STAGED)
def test_phases_in_one_fit_equal_the_stages_run_apart(method, setting, tmp_path):
    words = [*SHORT, f"data.setting={setting}"] + ([] if setting == "few_shot" else ["data.shots=null"])
    in_one = run(method_config(method, tmp_path, *words))
    apart = run(method_config(method, tmp_path, *words, "method.start=cached"))
    source = apart.data["method"]["start"]["source_run_id"]
    assert in_one.data["method"]["start"]["source_run_id"] == source
    record = read_record(tmp_path / source)
    assert (record.status, record.method, record.shots) == ("ok", "source_only", None)
    path = run(method_config(method, tmp_path, *words, f"method.start={tmp_path / source}"))
    assert len({in_one.run_id, apart.run_id, path.run_id, source}) == 4
    for other in (apart, path):
        assert other.metrics == in_one.metrics
        assert_equal(weights(tmp_path, other), weights(tmp_path, in_one))
