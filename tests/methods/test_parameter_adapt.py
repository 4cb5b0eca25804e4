"""Parameter methods with a regulariser or adapters: what each is at its ends, and what stays frozen."""

import copy

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from tests.contracts.problem import data_of, method_config, module_and_batch
from tl_research.adapters.base import adapted_layers
from tl_research.adapters.merge import fold
from tl_research.errors import ConfigError
from tl_research.methods.base import AdaptationModule
from tl_research.methods.build import build_method
from tl_research.methods.step import Step
from tl_research.nn.key_queue import KeyQueue
from tl_research.registry import METHODS
from tl_research.runs.experiment import run
from tl_research.runs.predictor import Predictor
from tl_research.storage.checkpoints import load_model_file

#: An encoder with everything that has a state: dropout draws, batch norm counts.
SHORT = (
    "trainer.max_epochs=4", "data.n_source=300", "data.n_target=300", "encoder.hidden=[12,8]", "encoder.dropout=0.2",
    "encoder.batch_norm=true", "optimizer.weight_decay=0.01", "optimizer.schedule=cosine", "selection.rule=last",
    "data.shots=10",
)  # fmt: skip

WEIGHT_0 = {
    "delta": ["method.weight=0", "method.head_weight=0"],
    "bss": ["method.weight=0"],
    "stoch_norm": ["method.p=0"],
    "co_tuning": ["method.weight=0"],
    "bi_tuning": ["method.classifier_weight=0", "method.projector_weight=0"],
    "lwf": ["method.weight=0"],
    "feature_distillation": ["method.weight=0"],
    "relational_distillation": ["method.distance_weight=0", "method.angle_weight=0"],
}
ADAPTERS = ("lora", "dora", "adapter")


def weights(output, record) -> dict[str, torch.Tensor]:
    return load_model_file(output / record.run_id)["model"]


def fit(method: str, output, *words: str):
    record = run(method_config(method, output, *SHORT, *words))
    return record, weights(output, record)


def assert_equal(one: dict, other: dict, prefixes=("encoder.", "head.")) -> None:
    names = [name for name in one if name.startswith(prefixes)]
    assert names
    for name in names:
        assert torch.equal(one[name], other[name]), name


@pytest.mark.parametrize("head", ["false", "true"])
@pytest.mark.parametrize("method", WEIGHT_0)
def test_weight_0_is_fine_tuning_bit_for_bit_and_another_weight_is_not(method, head, tmp_path):
    record, found = fit(method, tmp_path, f"method.new_head={head}", *WEIGHT_0[method])
    plain, expected = fit("fine_tune", tmp_path, f"method.new_head={head}")
    assert_equal(expected, found)
    for key in ("target_test/accuracy", "source_val/accuracy"):
        assert record.metrics["last"][key] == plain.metrics["last"][key]
    _, other = fit(method, tmp_path, f"method.new_head={head}")
    assert any(not torch.equal(expected[name], other[name]) for name in expected if name.startswith("encoder."))


@pytest.mark.parametrize(
    "words",
    [
        ("lora", "method.rank=0"),
        ("lora", "method.alpha=0"),
        ("adapter", "method.width=0"),
        ("adapter", "method.scale=0"),
    ],
)
def test_an_adapter_of_nothing_is_the_linear_probe_with_the_sources_head(words, tmp_path):
    _, found = fit(*words[:1], tmp_path, *words[1:])
    _, probe = fit("linear_probe", tmp_path, "method.new_head=false")
    assert found.keys() == probe.keys()
    assert_equal(probe, found)


@pytest.mark.parametrize("method", ADAPTERS)
def test_the_encoder_is_frozen_bit_for_bit_and_the_facts_say_what_trains(method, tmp_path):
    record, found = fit(method, tmp_path, "method.start=cached")
    source = weights(tmp_path, record_of(tmp_path, record.data["method"]["start"]["source_run_id"]))
    bare = {name: value for name, value in source.items() if name.startswith("encoder.")}
    assert any("running_mean" in name for name in bare)
    assert_equal(bare, found, ("encoder.",))
    assert not torch.equal(source["head.weight"], found["head.weight"])
    own = {name: value for name, value in found.items() if ".adapter." in name}
    facts = record.data["method"]["adapters"]
    assert facts["layers"] == ["layers.0", "layers.4"]
    assert facts["count"] == 2
    assert facts["parameters"] == sum(value.numel() for value in own.values())
    head = found["head.weight"].numel() + found["head.bias"].numel()
    assert record.resources["trainable_parameters"] == facts["parameters"] + head


def record_of(output, run_id):
    from tl_research.runs.record import read_record

    return read_record(output / run_id)


@pytest.mark.parametrize("method", ADAPTERS)
def test_only_adapters_and_head_have_gradients_and_are_in_the_optimiser(method):
    module, batch = module_and_batch(method)
    module.begin_stage(1, batch.target_labeled)
    phase = module.phase(module.epochs - 1)
    module._enter(phase)
    sum(module.loss_terms(Step(module, batch, phase)).values()).backward()
    for name, parameter in module.named_parameters():
        trains = name.startswith("head.") or ".adapter." in name
        assert parameter.requires_grad == trains
        assert (parameter.grad is not None) == trains, name
    kept = {id(parameter) for group in module.parameter_groups() for parameter in group["params"]}
    assert kept == {id(parameter) for parameter in module.parameters() if parameter.requires_grad}


@pytest.mark.parametrize("method", ["lora", "dora"])
def test_a_loaded_run_folds_into_a_plain_encoder_that_predicts_the_same(method, tmp_path):
    record, _ = fit(method, tmp_path, "method.layers=[layers.0]")
    module = Predictor.load(tmp_path / record.run_id).module
    assert [name for name, _ in adapted_layers(module)] == ["encoder.layers.0"]
    rows = torch.randn(20, module.encoder.spec.numeric)
    _, logits = module(rows)
    assert fold(module.encoder) == 1
    torch.testing.assert_close(module(rows)[1], logits, rtol=1e-5, atol=1e-5)


def test_a_norm_without_parameters_is_frozen_too():
    module, batch = module_and_batch("lora")
    module.encoder.layers.append(nn.BatchNorm1d(32, affine=False))
    module.begin_stage(1, batch.target_labeled)
    module._enter(module.phase(module.epochs - 1))
    before = module.encoder.layers[-1].running_mean.clone()
    module(batch.target_labeled.inputs)
    assert torch.equal(module.encoder.layers[-1].running_mean, before)


@pytest.mark.parametrize("method", ADAPTERS)
def test_a_pattern_without_a_layer_is_known_before_training(method):
    config = method_config(method, "unused", "method.layers=[layers.0, block*]")
    data = data_of(config, METHODS.get(method).target.reads)
    with pytest.raises(ConfigError, match=r"method\.layers: got 'block\*', which matches no layer.*known: layers\.0"):
        build_method(config, data.spec, data.outcome)


@pytest.mark.parametrize(
    ("method", "words", "message"),
    [
        ("stoch_norm", ["encoder.batch_norm=false"], r"needs batch normalisation.*'mlp' has none; set encoder\.batch"),
        ("delta", ["encoder.name=identity"], "'identity' has no blocks"),
        ("lora", ["encoder.name=identity"], r"method\.layers"),
    ],
)
def test_an_encoder_that_does_not_suit_is_one_error_before_training(method, words, message):
    encoder = "unused" if "identity" in words[0] else "mlp"
    config = method_config(method, "unused", *(["encoder.batch_norm=false"] if encoder == "mlp" else []))
    if encoder == "unused":
        from tl_research.config import compose

        problem = {"data": {"name": "simulated_market"}, "encoder": {"name": "identity"}}
        config = compose(problem, ["data.setting=few_shot", "data.shots=5", f"method.name={method}"])
    data = data_of(config, METHODS.get(method).target.reads)
    with pytest.raises(ConfigError, match=message):
        build_method(config, data.spec, data.outcome)


def test_delta_does_not_go_with_compile():
    config = method_config("delta", "unused")
    OmegaConf.set_readonly(config, False)
    config.trainer.compile = True
    with pytest.raises(ConfigError, match=r"trainer\.compile: got True"):
        METHODS.get("delta").target.check_config(config)


# What each reads


def begun(method: str, *words: str):
    config = method_config(method, "unused", *words)
    data = data_of(config, METHODS.get(method).target.reads)
    torch.manual_seed(0)
    module: AdaptationModule = build_method(config, data.spec, data.outcome)
    module.begin_stage(1, data.sides["target_labeled"])
    batch = next(iter(data.train_dataloader()))
    module._enter(module.phase(module.epochs - 1))
    return module, batch, data.sides["target_labeled"]


@pytest.mark.parametrize(
    ("method", "limit"), [("delta", 0), ("feature_distillation", 0), ("relational_distillation", 0), ("lwf", 0)]
)
def test_at_the_source_the_teacher_has_nothing_to_say_and_it_says_more_the_farther_one_is(method, limit):
    module, batch, _ = begun(method)
    found = []
    for step in (0.0, 0.05, 0.2):
        with torch.no_grad():
            for parameter in module.encoder.parameters():
                parameter.add_(step * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
            terms = module.loss_terms(Step(module, batch, module.phase(module.epochs - 1)))
        found.append(sum(value.item() for name, value in terms.items() if name not in ("target_task", "head_size")))
    assert found[0] == pytest.approx(limit, abs=1e-10)
    assert found[0] < found[1] < found[2]


def test_delta_holds_the_head_near_0():
    module, batch, _ = begun("delta", "method.head_weight=0.3")
    terms = module.loss_terms(Step(module, batch, module.phase(module.epochs - 1)))
    size = sum(float(value.detach().double().square().sum()) for value in module.head.parameters())
    assert float(terms["head_size"].detach()) == pytest.approx(0.15 * size, rel=1e-5)


def test_deltas_attention_is_the_softmax_of_the_loss_without_each_channel():
    module, _, labeled = begun("delta", "encoder.hidden=[6,5]")
    layers, head = module.teacher_encoder.module.layers, module.teacher_head.module
    head.weight.mul_(20)  # a source model that has learned something
    module.enter_target_stage(labeled)

    def loss(number: int | None = None, channel: int = 0) -> torch.Tensor:
        x = labeled.inputs
        for i, layer in enumerate(layers):
            x = layer(x)
            if i == number:
                x = x * (torch.arange(x.shape[1]) != channel)
        return torch.nn.functional.cross_entropy(head(x), labeled.label)

    for number, width in ((0, 6), (2, 5)):
        expected = torch.softmax(torch.stack([loss(number, c) - loss() for c in range(width)]), 0)
        torch.testing.assert_close(getattr(module.channels, f"layers__{number}"), expected)
        assert expected.max() > 1.4 / width


def test_co_tunings_relation_is_what_the_source_model_says_of_each_class():
    module, _, labeled = begun("co_tuning", "method.calibrate=false")
    with torch.no_grad():
        p = torch.softmax(module.source_head(module.encoder(labeled.inputs)), 1)
    for c in range(module.classes):
        torch.testing.assert_close(module.category.relation[c], p[labeled.label == c].mean(0))
    module, _, _ = begun("co_tuning")
    assert module.facts["co_tuning"]["temperature"] != 1


def test_the_queue_keeps_the_latest_keys_of_each_class():
    queue, rows = KeyQueue(3, 4, 2), torch.arange(60.0).reshape(30, 2)
    label = torch.tensor([0, 0, 1, 0, 1, 0, 0, 0, 1] * 3)
    seen: dict[int, list] = {0: [], 1: [], 2: []}
    for part in (slice(0, 2), slice(2, 3), slice(3, 10), slice(10, 27)):
        queue.push(rows[part], label[part])
        for row, c in zip(rows[part].tolist(), label[part].tolist(), strict=True):
            seen[c].append(row)
        for c in range(3):
            kept = queue.keys[queue.label == c].tolist()
            assert sorted(kept) == sorted(seen[c][-4:])


def test_bi_tunings_key_encoder_follows_with_its_momentum():
    module, batch, _ = begun("bi_tuning", "method.momentum=0.75")
    start = {name: value.clone() for name, value in module.key_encoder.values().items()}
    with torch.no_grad():
        for parameter in module.encoder.parameters():
            parameter.add_(1.0)
    step = Step(module, batch, module.phase(module.epochs - 1))
    with torch.no_grad():
        module.loss_terms(step)
        module.after_step(step)
    for name, value in module.key_encoder.values().items():
        torch.testing.assert_close(value, start[name] + 0.25)
    assert (module.key_queue.label >= 0).sum() == min(64, batch.target_labeled.size)


@pytest.mark.slow
def test_lwf_forgets_less_of_what_the_source_model_said_than_fine_tuning(tmp_path):
    """The old head on the encoder after fine-tuning, against the source model's probabilities, on target test rows."""
    moved = {"lwf": 0.0, "fine_tune": 0.0}
    for method in moved:
        for seed in (0, 1):
            config = method_config(method, tmp_path, "method.start=cached", "selection.rule=last", seed=seed)
            record = run(config)
            source = weights(tmp_path, record_of(tmp_path, record.data["method"]["start"]["source_run_id"]))
            inputs = data_of(config, METHODS.get(method).target.reads).release_evaluation()["target_test"].inputs
            module = Predictor.load(tmp_path / record.run_id).module
            head = copy.deepcopy(module.head)
            head.load_state_dict(part_of(source, "head."))
            with torch.no_grad():
                after = (module.old_head if method == "lwf" else head)(module.encoder(inputs)).softmax(dim=1)
                module.encoder.load_state_dict(part_of(source, "encoder."))
                before = head(module.encoder(inputs)).softmax(dim=1)
            moved[method] += float((after - before).abs().mean()) / 2
    assert moved["lwf"] < 0.7 * moved["fine_tune"], moved


def part_of(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
