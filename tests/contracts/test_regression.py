"""What every method that takes regression targets must do with them, on the simulated market's amounts."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import r2_score

from tests.contracts.chosen import chosen
from tests.contracts.problem import LABELLED, PROBLEM, SHOTS, data_of, is_closed_form, total_loss
from tl_research.config import compose
from tl_research.data.catalog.simulated_market import bayes_r2
from tl_research.errors import ConfigError
from tl_research.methods.base import AdaptationModule
from tl_research.methods.build import build_method
from tl_research.methods.staged import ParameterMethod
from tl_research.registry import METHODS
from tl_research.runs.experiment import run
from tl_research.runs.predictor import Predictor
from tl_research.runs.record import read_history

TAKES = [entry.name for entry in METHODS.entries() if "regression" in entry.targets]
REFUSES = [name for name in LABELLED if "regression" not in METHODS.get(name).targets]
#: Heads of the closed-form methods that predict a number.
HEAD = {"head": "ridge"}
#: Best possible: 0.94. Means of the source's labels score below 0.
BOUNDS = {
    "source_only": 0.5,
    "target_only": 0.5,
    "target_oracle": 0.85,
    "union": 0.7,
    "fine_tune": 0.7,
    "dann": 0.62,
    "dan": 0.6,
    "deep_coral": 0.5,
    "ulsif": 0.5,
    "learn_to_reweight": 0.5,
    "boosting_transfer": 0.6,
    "tradaboost_r2": 0.6,
    "coral": 0.6,
}


def regression_config(method: str, output, *overrides: str):
    setting = METHODS.get(method).settings[0]
    staged = issubclass(METHODS.get(method).target, ParameterMethod)
    # An encoder with norms, say; of other methods what is for the time that tests take, the encoder, and sources of
    # which there are to be several.
    kept = ("method.", "encoder.", "data.sources=")
    own = [word for word in METHODS.get(method).problem if staged or word.startswith(kept)]
    words = [*own, "data.task=regression", f"data.setting={setting}", f"output={output}"]
    if setting == "few_shot":
        words.append(f"data.shots={5 * SHOTS}")
    tree = {group: dict(keys) for group, keys in PROBLEM.items()}
    if METHODS.get(method).encoder is not None:
        tree.pop("encoder")
    tree["method"] = {"name": method}
    if is_closed_form(method) and "head" in METHODS.get(method).config.__dataclass_fields__:
        tree["method"] |= HEAD
    return compose(tree, [*words, *overrides])


def short(method: str, output, *overrides: str):
    return regression_config(
        method,
        output,
        f"trainer.max_epochs={8 if issubclass(METHODS.get(method).target, ParameterMethod) else 2}",
        "data.n_source=200",
        "data.n_target=200",
        "trainer.threads=1",
        *overrides,
    )


@pytest.mark.parametrize("method", chosen(TAKES))
def test_runs_end_to_end_and_predicts_as_it_was_measured(method, tmp_path):
    config = short(method, tmp_path)
    record = run(config)
    assert record.status == "ok"
    assert "im" not in record.metrics
    data = data_of(config, METHODS.get(method).target.reads)
    test = data.release_evaluation()["target_test"]
    predictor = Predictor.load(tmp_path / record.run_id)
    epoch = record.metrics[record.selection_rule]
    values = predictor.values(_raw_test_rows(config))
    assert values.shape == test.label.shape
    assert r2_score(test.label, values) == pytest.approx(epoch["target_test/r2"], abs=1e-6)
    with pytest.raises(ValueError, match="no class probabilities"):
        predictor.probabilities(test.inputs.numpy())


def _raw_test_rows(config):
    from omegaconf import OmegaConf

    from tl_research.data.splits import split_rows
    from tl_research.registry import DATASETS

    settings = OmegaConf.to_object(config.data)
    domain = DATASETS.get("simulated_market").target(settings, [settings.target])[settings.target]
    validates = settings.val_fraction if settings.setting == "supervised" else 0.0
    rows = split_rows(domain, seed=config.seed, val_fraction=validates, test_fraction=settings.test_fraction)
    return domain.inputs[rows.test]


@pytest.mark.parametrize("method", TAKES)
def test_no_hidden_number_has_influence(method, monkeypatch):
    monkeypatch.setattr(AdaptationModule, "progress", 0.5)
    config = short(method, "unused")
    results = []
    for hidden in (float("nan"), 1.0):
        data = data_of(config, METHODS.get(method).target.reads)
        target = data.sides["target"]
        assert target.label.isnan().all()
        target = target._replace(label=torch.full_like(target.label, hidden))
        torch.manual_seed(0)
        module = build_method(config, data.spec, data.outcome)
        if module.row_weights is not None or type(module).prepare is not AdaptationModule.prepare:
            module.prepare(data.sides.get("source"), target, data.sides.get("target_labeled"))
        if is_closed_form(method):
            results.append(torch.cat([value.double().flatten() for value in module.state_dict().values()]))
            continue
        batch = next(iter(data.train_dataloader()))
        if batch.target is not None:
            batch = batch._replace(target=batch.target._replace(label=torch.full_like(batch.target.label, hidden)))
        phases = {phase.name: phase for phase in (module.phase(epoch) for epoch in range(module.epochs))}
        losses = [total_loss(module, batch, phase).detach() for phase in phases.values()]
        results.append(torch.stack(losses))
    assert torch.equal(*results)
    assert results[0].isfinite().all()


@pytest.mark.parametrize("method", REFUSES)
def test_a_method_of_classes_refuses_a_number_before_training(method):
    with pytest.raises(
        ConfigError, match=rf"^method\.name: '{method}' takes a label of kind class, this one is regression"
    ):
        regression_config(method, "unused")


def test_there_are_methods_of_both_kinds():
    assert {"jda", "easy_tl", "tradaboost"} <= set(REFUSES)
    assert set(BOUNDS) <= set(TAKES)


def test_the_rule_of_class_probabilities_is_refused():
    with pytest.raises(ConfigError, match=r"^selection\.rule: 'im' takes a label of kind class"):
        regression_config("source_only", "unused", "selection.rule=im")


def test_a_head_of_classes_is_refused(tmp_path):
    with pytest.raises(
        ConfigError, match=r"^method\.head: got 'logistic', wants one of boosting, forest, nearest_neighbours, ridge"
    ):
        run(regression_config("shallow", tmp_path, "method.head=logistic"))


@pytest.mark.slow
@pytest.mark.parametrize("method", chosen(BOUNDS))
def test_learns(method, tmp_path):
    config = regression_config(method, tmp_path)
    record = run(config)
    for rule in ("last", record.selection_rule):
        r2 = record.metrics[rule]["target_test/r2"]
        assert BOUNDS[method] < r2 < bayes_r2(config.data, "new_market") + 0.02, (rule, r2)


def test_one_label_to_validate_on_is_enough_to_select(tmp_path):
    """R² has no value on one row; the rules read RMSE, which orders epochs alike."""
    record = run(short("target_only", tmp_path, "data.shots=5", "trainer.max_epochs=3"))
    assert record.selection_rule == "target_val"
    assert record.data["rows"]["target_val"] == 1
    assert "target_val/r2" not in record.metrics["target_val"]
    history = read_history(tmp_path / record.run_id)
    best = min(history, key=lambda row: row["target_val/rmse"])
    assert record.metrics["target_val"]["epoch"] == best["epoch"]
    assert Predictor.load(tmp_path / record.run_id).epoch == best["epoch"]
