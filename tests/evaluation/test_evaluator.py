import pytest
import torch

from tests.contracts.problem import data_of, method_config, module_and_batch
from tl_research.evaluation.evaluator import VALIDATOR_ROWS, Evaluator
from tl_research.evaluation.measure import measure, predict
from tl_research.evaluation.validators import deep_embedded_validation, density_ratio
from tl_research.methods.build import build_method
from tl_research.metrics.classes import classification_metrics
from tl_research.metrics.numbers import regression_metrics
from tl_research.registry import METRICS
from tl_research.runs.experiment import run
from tl_research.runs.record import read_history


def test_predicting_in_parts_equals_predicting_at_once_and_puts_every_flag_back():
    module, batch = module_and_batch("dann")
    module.train()
    module.encoder.eval()  # as a phase that freezes the encoder does
    before = [part.training for part in module.modules()]
    whole = predict(module, batch.source.inputs)
    parts = predict(module, batch.source.inputs, rows=7)
    assert [part.training for part in module.modules()] == before
    for one, two in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, two)
    assert not whole[1].requires_grad


def test_flags_are_put_back_after_a_failure_too():
    module, batch = module_and_batch("source_only")
    module.train()
    with pytest.raises(RuntimeError):
        predict(module, batch.source.inputs[:, :3])
    assert all(part.training for part in module.modules())


def test_named_inputs_are_cut_alike():
    class Twice(torch.nn.Module):
        device = torch.device("cpu")

        def forward(self, inputs):
            return inputs["a"], inputs["b"].float()

    inputs = {"a": torch.randn(10, 3), "b": torch.arange(20).reshape(10, 2)}
    features, logits = predict(Twice(), inputs, rows=4)
    assert torch.equal(features, inputs["a"])
    assert torch.equal(logits, inputs["b"].float())


def test_metrics_are_those_of_the_whole_split_and_validators_see_no_target_label():
    config = method_config("source_only", "unused")
    data = data_of(config, frozenset(("source",)))
    splits = data.release_evaluation()
    module, _ = module_and_batch("source_only")
    evaluator = Evaluator(splits, data.sides["source"], data.sides["target"], outcome=data.outcome, seed=0)
    values = evaluator.measure(module).figures
    logits = predict(module, splits["target_test"].inputs)[1]
    for name, value in classification_metrics(logits, splits["target_test"].label).items():
        assert values[f"target_test/{name}"] == pytest.approx(value)
    split = splits["target_test"]
    splits["target_test"] = split._replace(label=1 - split.label)
    again = evaluator.measure(module).figures
    for rule in ("im", "snd", "dev", "iwcv"):
        assert again[rule] == values[rule]
    assert again["target_test/accuracy"] == pytest.approx(1 - values["target_test/accuracy"])


def test_validators_read_a_fixed_part_of_a_large_side():
    module, batch = module_and_batch("source_only")
    many = batch.source.rows(torch.randint(0, batch.source.size, (VALIDATOR_ROWS + 500,)))
    split = {name: batch.source for name in ("source_val", "target_test")}
    one, two = (Evaluator(split, many, many, outcome=module.outcome, seed=3) for _ in range(2))
    assert one._training["source"].shape[0] == VALIDATOR_ROWS
    assert torch.equal(one._training["source"], two._training["source"])
    assert one.measure(module).figures == two.measure(module).figures


def test_a_number_is_measured_in_its_unit_and_dev_reads_squared_standardised_errors():
    config = method_config("source_only", "unused", "data.task=regression")
    data = data_of(config, frozenset(("source",)))
    torch.manual_seed(0)
    module = build_method(config, data.spec, data.outcome)
    splits, source, target = data.release_evaluation(), data.sides["source"], data.sides["target"]
    values = Evaluator(splits, source, target, outcome=data.outcome, seed=0).measure(module).figures
    test, val = splits["target_test"], splits["source_val"]
    prediction = predict(module, test.inputs)[1][:, 0].double() * data.outcome.std + data.outcome.mean
    for name, value in regression_metrics(prediction, test.label).items():
        assert values[f"target_test/{name}"] == pytest.approx(value)
    assert not {"im", "snd"} & set(values)
    features, outputs = predict(module, val.inputs)
    error = (outputs[:, 0].double() - (val.label - data.outcome.mean) / data.outcome.std) ** 2
    drawn = [predict(module, side.inputs)[0] for side in (source, target)]
    assert values["dev"] == pytest.approx(deep_embedded_validation(error, density_ratio(*drawn, features)))


@pytest.mark.parametrize("task", ["class", "regression"])
def test_a_split_of_several_domains_has_figures_of_each_their_mean_and_the_worst(task):
    config = method_config("source_only", "unused", f"data.task={task}")
    data = data_of(config, frozenset(("source",)))
    torch.manual_seed(0)
    module = build_method(config, data.spec, data.outcome)
    rows = data.release_evaluation()["source_test"]
    splits = {"source_test": rows}
    plain = measure(module, splits, data.outcome, domains=["a", "b", "c"]).figures
    assert not [key for key in plain if "@" in key]  # one domain, and the record is as it was
    of_two = rows._replace(domain=(torch.arange(rows.size) % 3 == 0) * 2)
    figures = measure(module, {"source_test": of_two}, data.outcome, domains=["a", "b", "c"]).figures
    assert {key: value for key, value in figures.items() if "@" not in key} == plain
    outputs = predict(module, rows.inputs, is_source=True)[1]
    parts = (of_two.domain == 0, of_two.domain == 2)
    first, second = (data.outcome.metrics(outputs[part], rows.label[part]) for part in parts)
    for metric in first:
        key = f"source_test/{metric}"
        assert (figures[f"{key}@a"], figures[f"{key}@c"]) == (first[metric], second[metric])
        assert figures[f"{key}@mean"] == pytest.approx((first[metric] + second[metric]) / 2, rel=1e-12)
        worst = min if METRICS[metric].higher_is_better else max
        assert figures[f"{key}@worst"] == worst(first[metric], second[metric])


def test_a_metric_without_a_value_in_one_domain_has_no_mean_and_no_worst():
    module, batch = module_and_batch("source_only")
    rows = batch.source._replace(domain=batch.source.label)  # each domain has one class
    figures = measure(module, {"source_val": rows}, module.outcome, domains=["no", "yes"]).figures
    assert "source_val/auroc" in figures
    assert not [key for key in figures if key.startswith("source_val/auroc@")]
    assert "source_val/accuracy@worst" in figures


def test_measuring_rarely_changes_nothing_but_the_history(tmp_path):
    short = ("data.n_source=200", "data.n_target=200", "trainer.max_epochs=5", "selection.rule=last")
    often, rarely = (
        run(method_config("dann", tmp_path / every, *short, f"selection.every={every}")) for every in ("1", "2")
    )
    history = read_history(tmp_path / "2" / rarely.run_id)
    assert [row["epoch"] for row in history if "target_test/accuracy" in row] == [1, 3, 4]
    assert all("train/domain" in row for row in history)
    assert rarely.metrics["last"] == often.metrics["last"]
    assert rarely.metrics["oracle"]["epoch"] in (1, 3, 4)
