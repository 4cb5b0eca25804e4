"""Weights shared out by FSDP: two gloo processes have to train what one process trains, and hold half of it each."""

import pytest
import torch

from tests.contracts.chosen import chosen
from tests.contracts.problem import LABELLED
from tests.pair import assert_resumed_alike, config_of, make_starts, trained
from tests.sharded import SETTINGS, everything
from tests.test_multi_device import OF_ITS_OWN_ROWS
from tl_research.config import compose
from tl_research.errors import ConfigError
from tl_research.methods.adversarial.dann import DANN
from tl_research.parallel import launch
from tl_research.registry import ENCODERS, METHODS
from tl_research.runs.predictor import Predictor
from tl_research.storage.checkpoints import load_model_file

#: On a loaded machine two processes wait for each other at every step.
pytestmark = pytest.mark.timeout(1800)
REFUSED = {name: METHODS.get(name).target.needs_whole_weights() for name in LABELLED}
ALLOWED = [name for name, reason in REFUSED.items() if reason is None]
#: One of each group of hooks (all with `--all`), and the one whose model file another run begins with.
TRAINED = [name for name in ALLOWED if name in {*chosen(ALLOWED), "source_only"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def pair(folder):
    make_starts(folder, TRAINED)
    return launch.on_every_device(everything, (str(folder), TRAINED), devices=2)


def assert_same_state(state, expected, *, rtol=1e-4, atol=2e-6):
    assert list(state) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(state[name], value, rtol=rtol, atol=atol, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.slow
@pytest.mark.parametrize("method", TRAINED)
def test_two_sharded_processes_train_what_one_does(method, pair, tmp_path):
    found = pair["methods"][method]
    if isinstance(found, Exception):
        raise found
    state, differs, record = found
    assert differs == []
    assert record.environment["processes"] == 2
    alone, _, of_one = trained(config_of(method, tmp_path, ranks=1))
    assert record.resources["parameters"] == of_one.resources["parameters"]
    assert record.resources["flops_per_row"] == of_one.resources["flops_per_row"]
    if method in OF_ITS_OWN_ROWS:
        assert list(state) == list(alone)
        return
    assert_same_state(state, alone)
    assert record.metrics["last"].keys() == of_one.metrics["last"].keys()
    for key, value in of_one.metrics["last"].items():
        assert record.metrics["last"][key] == pytest.approx(value, rel=1e-3, abs=1e-4), key


def test_the_methods_that_a_table_begins_with_are_allowed():
    assert {"source_only", "target_only", "union", "dan", "dann", "deep_coral", "fine_tune", "iwan"} <= set(ALLOWED)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["within a step", "gradients", "exp_avg", "exp_avg_sq", "after the run"])
def test_each_process_holds_half(what, pair):
    shares = pair["parts"][what]
    for name, (own, of_all) in shares.items():
        # Rank 0 has the larger part of what cannot be halved: a bias of one output.
        assert own <= of_all / 2 + 1 or "discriminator.2.weight" in name, name
        assert own < of_all or of_all == 1 or "discriminator.2.weight" in name, name
    assert sum(own for own, _ in shares.values()) < 0.6 * sum(of_all for _, of_all in shares.values())
    assert {name.split(".")[0] for name in shares} == {"encoder", "head", "discriminator"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clipped", "accumulated"])
def test_clipping_and_accumulation_are_those_of_one_process(name, pair, tmp_path):
    state, differs, _ = pair["settings"][name]
    assert differs == []
    alone, *_ = trained(config_of("dann", tmp_path / "with", *SETTINGS[name], ranks=1))
    without, *_ = trained(config_of("dann", tmp_path / "without", *SETTINGS[name][1:], ranks=1))
    assert_same_state(state, alone)
    assert max((alone[name] - without[name]).abs().max() for name in alone) > 0.01


@pytest.mark.slow
def test_bfloat16_is_as_near_to_one_process_as_its_digits(pair, tmp_path):
    state, differs, _ = pair["settings"]["bf16"]
    assert differs == []
    assert all(value.dtype == torch.float32 for value in state.values())
    alone, *_ = trained(config_of("dann", tmp_path, *SETTINGS["bf16"], ranks=1))
    assert_same_state(state, alone, rtol=1e-2, atol=2e-3)


@pytest.mark.slow
def test_the_model_file_is_that_of_ddp_and_predicts(pair, folder):
    """With batch normalisation, whose statistics are then of the same rows, and with Adam."""
    found = pair["with batch norm"]
    (state, _, record, same), (expected, _, of_ddp, same_in_ddp) = found["fsdp"], found["ddp"]
    assert len(same) == 8
    assert all(same)
    assert all(same_in_ddp)
    assert_same_state(state, expected)
    assert any("running_mean" in name for name in state)
    files = [load_model_file(folder / run.run_id) for run in (record, of_ddp)]
    assert files[0].keys() == files[1].keys()
    assert_same_state(files[0]["model"], files[1]["model"])
    assert_same_state(files[0]["model"], state, rtol=0, atol=0)
    predictors = [Predictor.load(folder / run.run_id) for run in (record, of_ddp)]
    assert type(predictors[0].module) is DANN
    rows = torch.randn(9, predictors[0].transform.spec.numeric, generator=torch.Generator().manual_seed(0)).numpy()
    torch.testing.assert_close(predictors[0].outputs(rows), predictors[1].outputs(rows), rtol=1e-4, atol=1e-5)
    assert record.metrics["last"] == pytest.approx(of_ddp.metrics["last"], rel=1e-3, abs=1e-4)


@pytest.mark.slow
def test_a_run_begins_with_the_model_file_of_a_sharded_one(pair, tmp_path):
    start, (state, _, record) = pair["start"]
    assert record.data["method"]["start"]["from"] == "checkpoint"
    alone, *_ = trained(config_of("fine_tune", tmp_path, start, ranks=1))
    assert_same_state(state, alone)


@pytest.mark.slow
def test_a_target_of_fewer_rows_than_processes_and_batches(pair):
    assert pair["tiny"] == []


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dann", "fine_tune"])
def test_killed_and_resumed_equals_the_uninterrupted(method, pair):
    """Bit for bit, dropout, Adam's moments and (for dann) running statistics included."""
    assert_resumed_alike(pair["resumed"][method])


@pytest.mark.slow
def test_every_encoder_is_sharded_block_by_block(pair):
    # Recommenders, which alone take interactions, refuse to be shared out.
    of_rows = {entry.name for entry in ENCODERS.entries() if entry.target.takes != ("interactions",)}
    assert of_rows - {"identity", "text_hf", "text_lsa", "side_by_side"} <= set(pair["encoders"])
    for name, found in pair["encoders"].items():
        (features, alone), (measured, together) = found["alone"], found["together"]
        torch.testing.assert_close(measured, features, rtol=1e-5, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}")
        assert together.keys() == alone.keys(), name
        assert_same_state(together, alone, rtol=1e-4, atol=1e-5)
    assert pair["encoders"]["vision"]["groups"] > 3


@pytest.mark.slow
def test_a_parameter_outside_of_all_parts_is_named(pair):
    assert pair["loose"] == (
        "trainer.strategy: fsdp cannot share out scale of Sequential: no part with a forward has it"
    )


# What is refused


@pytest.mark.parametrize("method", [name for name in LABELLED if name not in ALLOWED])
def test_methods_that_need_whole_weights_are_refused_by_name(method):
    message = rf"trainer\.strategy: got 'fsdp', wants auto or ddp: method '{method}' {REFUSED[method]}"
    with pytest.raises(ConfigError, match=message):
        compose(None, [f"method.name={method}", "trainer.strategy=fsdp", "trainer.devices=2"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trainer.devices=1"], r"trainer\.devices: got 1, wants 2 or more for trainer\.strategy=fsdp"),
        (["trainer.compile=true"], r"trainer\.compile: got True, wants False for trainer\.strategy=fsdp"),
        (["trainer.precision=16-mixed"], r"trainer\.precision: got '16-mixed', wants bf16-mixed or 32-true"),
    ],
)
def test_what_fsdp_does_not_go_with(words, message):
    with pytest.raises(ConfigError, match=message):
        compose(None, ["data.name=simulated_market", "trainer.strategy=fsdp", "trainer.devices=2", *words])
