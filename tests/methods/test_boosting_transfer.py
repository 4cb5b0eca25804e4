"""`boosting_transfer` with each library, through whole runs."""

import sys

import pytest
import torch

from tests.contracts.problem import data_of, method_config
from tl_research.config import compose, run_id
from tl_research.errors import ConfigError
from tl_research.runs.experiment import run
from tl_research.runs.predictor import Predictor

SMALL = ("data.n_source=800", "data.n_target=800", "trainer.threads=1")


def config_of(output, *overrides):
    return method_config("boosting_transfer", output, *SMALL, "method.iterations=40", *overrides)


@pytest.mark.parametrize("task", ["class", "regression"])
@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_a_run_predicts_without_the_library_what_it_was_measured_on(library, task, tmp_path, monkeypatch):
    pytest.importorskip(library, reason="the extra [trees] is not installed")
    own = (f"data.task={task}", "data.shots=50") if task == "regression" else ()
    config = config_of(tmp_path, f"method.library={library}", *own)
    record = run(config)
    assert record.metrics["last"]["target_test/r2" if own else "target_test/auroc"] > 0.6
    test = data_of(config, "both").release_evaluation()["target_test"]
    for name in list(sys.modules):
        if name.split(".")[0] == library:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    predictor = Predictor.load(tmp_path / record.run_id)
    assert predictor.module.head.value.shape[0] == 90
    output = predictor.module(test.inputs)[1].detach()
    if own:
        assert float(torch.corrcoef(torch.stack([output[:, 0], test.label.float()]))[0, 1]) > 0.8
    else:
        accuracy = float((output.argmax(dim=1) == test.label).float().mean())
        assert accuracy == pytest.approx(record.metrics["last"]["target_test/accuracy"], abs=1e-6)


@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_an_absent_library_stops_the_run_with_one_line(library, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=rf"^method\.library={library}: pip install"):
        run(config_of(tmp_path, f"method.library={library}"))


def test_runs_keep_the_names_they_had_before_there_were_libraries():
    recipe = "configs/used_cars/boosting_transfer.yaml"
    assert run_id(compose(recipe)) == "be616360d69f"
    assert run_id(compose(recipe, ["method.library=lightgbm"])) != run_id(compose(recipe))
