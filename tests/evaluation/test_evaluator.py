import pytest
import torch

from tests.contracts.problem import data_of, method_config, module_and_batch
from tl_research.data.paired import EvaluationSplit
from tl_research.evaluation.evaluator import VALIDATOR_ROWS, Evaluator, predict
from tl_research.evaluation.validators import deep_embedded_validation
from tl_research.methods.build import build_method
from tl_research.metrics.classes import classification_metrics
from tl_research.metrics.numbers import regression_metrics


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
    evaluator = Evaluator(splits, data.sides["source"], data.sides["target"], seed=0)
    values = evaluator.measure(module)
    logits = predict(module, splits["target_test"].inputs)[1]
    for name, value in classification_metrics(logits, splits["target_test"].label).items():
        assert values[f"target_test/{name}"] == pytest.approx(value)
    split = splits["target_test"]
    splits["target_test"] = EvaluationSplit(split.inputs, 1 - split.label)
    again = evaluator.measure(module)
    assert (again["im"], again["dev"]) == (values["im"], values["dev"])
    assert again["target_test/accuracy"] == pytest.approx(1 - values["target_test/accuracy"])


def test_validators_read_a_fixed_part_of_a_large_side():
    module, batch = module_and_batch("source_only")
    many = batch.source.rows(torch.randint(0, batch.source.size, (VALIDATOR_ROWS + 500,)))
    split = {name: EvaluationSplit(batch.source.inputs, batch.source.label) for name in ("source_val", "target_test")}
    one, two = (Evaluator(split, many, many.hidden(), seed=3) for _ in range(2))
    assert one._source_inputs.shape[0] == VALIDATOR_ROWS
    assert torch.equal(one._source_inputs, two._source_inputs)
    assert one.measure(module) == two.measure(module)


def test_a_number_is_measured_in_its_unit_and_dev_reads_squared_standardised_errors():
    config = method_config("source_only", "unused", "data.task=regression")
    data = data_of(config, frozenset(("source",)))
    torch.manual_seed(0)
    module = build_method(config, data.spec, len(data.classes))
    splits, source, target = data.release_evaluation(), data.sides["source"], data.sides["target"]
    values = Evaluator(splits, source, target, seed=0, label_scale=data.label_scale).measure(module)
    test, val = splits["target_test"], splits["source_val"]
    prediction = predict(module, test.inputs)[1][:, 0].double() * data.label_scale.std + data.label_scale.mean
    for name, value in regression_metrics(prediction, test.label).items():
        assert values[f"target_test/{name}"] == pytest.approx(value)
    assert "im" not in values
    features, outputs = predict(module, val.inputs)
    error = (outputs[:, 0].double() - (val.label - data.label_scale.mean) / data.label_scale.std) ** 2
    drawn = [predict(module, side.inputs)[0] for side in (source, target)]
    assert values["dev"] == pytest.approx(deep_embedded_validation(*drawn, features, error))
