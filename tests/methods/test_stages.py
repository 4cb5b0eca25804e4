"""Stages of one fit: what is exact about them."""

from __future__ import annotations

import itertools
import threading

import pytest
import torch
from omegaconf import OmegaConf

from tests.contracts.chosen import chosen
from tests.contracts.killed import Killed
from tests.contracts.problem import data_of, method_config
from tl_research.config import compose, run_id
from tl_research.errors import ConfigError, DataError
from tl_research.evaluation.measure import predict
from tl_research.methods.staged import ParameterMethod, source_epochs
from tl_research.registry import METHODS
from tl_research.runs import starting
from tl_research.runs.experiment import run
from tl_research.runs.predictor import Predictor
from tl_research.runs.record import read_history, read_record
from tl_research.storage.checkpoints import load_model_file
from tl_research.storage.lock import exclusive
from tl_research.training.resume import ResumeCheckpoint

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


def accuracy_of_loaded(folder, config) -> float:
    test = data_of(config, frozenset(("source",))).release_evaluation()["target_test"]
    _, logits = predict(Predictor.load(folder).module, test.inputs)
    return (logits.argmax(dim=1) == test.label).double().mean().item()


@pytest.mark.parametrize("setting", ["few_shot", "supervised"])
@pytest.mark.parametrize("method", chosen(STAGED))
def test_phases_in_one_fit_equal_the_stages_run_apart(method, setting, tmp_path):
    words = [*SHORT, f"data.setting={setting}"] + ([] if setting == "few_shot" else ["data.shots=null"])
    config = method_config(method, tmp_path, *words)
    in_one = run(config)
    apart = run(method_config(method, tmp_path, *words, "method.start=cached"))
    source = apart.data["method"]["start"]["source_run_id"]
    assert in_one.data["method"]["start"]["source_run_id"] == source
    record = read_record(tmp_path / source)
    assert (record.status, record.method, record.shots) == ("ok", "source_only", in_one.shots)
    path = run(method_config(method, tmp_path, *words, f"method.start={tmp_path / source}"))
    assert path.data["method"]["start"]["same_transform"]
    assert len({in_one.run_id, apart.run_id, path.run_id, source}) == 4
    for other in (apart, path):
        assert other.metrics == in_one.metrics
        assert_equal(weights(tmp_path, other), weights(tmp_path, in_one))
    target_epochs = [row for row in read_history(tmp_path / in_one.run_id) if row.get("selectable", True)]
    assert target_epochs == read_history(tmp_path / apart.run_id)
    assert accuracy_of_loaded(tmp_path / path.run_id, config) == in_one.metrics["last"]["target_test/accuracy"]


def test_one_source_run_serves_all_methods_and_is_itself_an_ordinary_run(tmp_path):
    """One per number of shots where some of them validate, since those rows are in no transform; else one for all."""

    def started(method: str, shots: int, *words: str) -> tuple[str, str]:
        record = run(method_config(method, tmp_path, *SHORT, "method.start=cached", f"data.shots={shots}", *words))
        source = record.data["method"]["start"]["source_run_id"]
        return source, read_record(tmp_path / source).started

    ones = {started("fine_tune", 10), started("linear_probe", 10), started("l2_sp", 10, "method.lr_scale=0.1")}
    assert len(ones) == 1
    few = {started("fine_tune", 3), started("linear_probe", 4)}
    assert len(few) == 1
    few_shot, none = ["data.setting=few_shot", "data.shots=10"], ["data.setting=unsupervised", "data.shots=null"]
    for words, found in ((few_shot, ones), (none, few)):
        plain = method_config("source_only", tmp_path, *SHORT, "trainer.max_epochs=2", "selection.rule=last", *words)
        assert run_id(plain) == next(iter(found))[0]
    assert started("fine_tune", 20)[0] not in {name for name, _ in ones | few}
    assert started("fine_tune", 10, "optimizer.lr=0.01")[0] != next(iter(ones))[0]


@pytest.mark.parametrize("method", ["fine_tune", "l2_sp", "wise_ft", "model_soup"])
@pytest.mark.parametrize("start", ["cached", "path"])
def test_killed_and_resumed_equals_uninterrupted_from_every_start(method, start, tmp_path, monkeypatch):
    words = [*SHORT, "trainer.checkpoint_every_n_steps=2", f"method.start={start}"]
    if start == "path":
        source = method_config("source_only", tmp_path, *SHORT, "data.setting=unsupervised", "data.shots=null")
        words[-1] = f"method.start={tmp_path / run(source).run_id}"
    whole = run(method_config(method, tmp_path / "whole", *words))
    config = method_config(method, tmp_path / "killed", *words)
    if start == "cached":
        run(starting.source_stage(config))
    save = ResumeCheckpoint.save

    def save_then_die(self, trainer):
        save(self, trainer)
        raise Killed

    monkeypatch.setattr(ResumeCheckpoint, "save", save_then_die)
    for attempt in itertools.count():
        try:
            record = run(config)
            break
        except Killed:
            assert attempt < 20
    assert attempt >= 2
    assert record.metrics == whole.metrics
    assert record.data["method"] == whole.data["method"]
    assert_equal(weights(tmp_path / "killed", record), weights(tmp_path / "whole", whole))


def test_a_run_waits_while_another_is_at_its_source_stage(tmp_path):
    config = method_config("fine_tune", tmp_path, *SHORT, "method.start=cached")
    source = starting.source_stage(config)
    calls, found = [], []

    def carry_out(config):
        calls.append(run_id(config))
        return run(config)

    waiting = threading.Thread(target=lambda: found.append(starting.find_start(config, carry_out)))
    with exclusive(tmp_path / run_id(source)) as mine:
        assert mine
        waiting.start()
        waiting.join(timeout=3 * starting.POLL_SECONDS)
        assert waiting.is_alive()
        assert not calls
    waiting.join(timeout=60)
    assert calls == [run_id(source)]
    assert found == [tmp_path / run_id(source)]


def test_a_source_stage_is_named_without_what_does_not_change_it(tmp_path):
    def named(*words: str) -> str:
        return run_id(starting.source_stage(method_config("fine_tune", tmp_path, *SHORT, *words)))

    assert named() == named("method.lr_scale=0.5") == named("selection.rule=source_val")
    # Ten shots leave rows that validate, which are in no transform; three and four leave none.
    assert named("data.shots=3") == named("data.shots=4") != named()
    # of ten epochs two
    assert named() == named("trainer.max_epochs=10", "method.source_share=0.2")
    others = ("seed=1", "encoder.hidden=[9]", "optimizer.lr=1", "method.source_share=0.75", "data.batch_size=7")
    assert len({named(), *map(named, others)}) == 1 + len(others)
    supervised = named("data.setting=supervised", "data.shots=null")
    assert supervised != named()


@pytest.mark.parametrize(("epochs", "share", "source"), [(4, 0, 0), (10, 0.5, 5), (2, 0.99, 1), (3, 0.01, 1)])
def test_epochs_of_the_source_stage(epochs, share, source):
    assert source_epochs(share, epochs) == source


def test_without_a_source_stage_the_target_has_every_epoch(tmp_path):
    record = run(method_config("fine_tune", tmp_path, *SHORT, "method.source_share=0"))
    history = read_history(tmp_path / record.run_id)
    assert [row["epoch"] for row in history if row.get("selectable", True)] == [0, 1, 2, 3]
    assert all("train/source_task" not in row for row in history)
    assert record.data["method"]["start"] == {"from": "phases", "source_epochs": 0, "head": "source"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["method.source_share=1"], r"method\.source_share: got 1"),
        (["method.start=cached", "method.source_share=0"], r"method\.start: got 'cached'"),
        (["trainer.max_epochs=1"], r"trainer\.max_epochs: got 1, wants 2 or more"),
        (["trainer.max_steps=5"], r"trainer\.max_steps: got 5, wants -1"),
        (["method.new_head=none"], r"method\.new_head"),
    ],
)
def test_a_wrong_value_is_one_error(words, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        method_config("fine_tune", tmp_path, *SHORT, *words)


def test_a_path_that_leads_nowhere_is_one_error(tmp_path):
    config = method_config("fine_tune", tmp_path, *SHORT, f"method.start={tmp_path / 'nowhere'}")
    with pytest.raises(ConfigError, match=r"method\.start: .*nowhere/model\.ckpt: there is no such file"):
        run(config)
    (tmp_path / "nowhere").mkdir()
    (tmp_path / "nowhere" / "model.ckpt").write_bytes(b"cut off")
    with pytest.raises(DataError, match=r"model\.ckpt: (refused|the checkpoint is truncated, or it is none)"):
        run(config)


def test_a_path_is_named_by_its_content(tmp_path):
    source = run(method_config("source_only", tmp_path, *SHORT))
    here, there = tmp_path / source.run_id, tmp_path / "moved"
    there.mkdir()
    (there / "model.ckpt").write_bytes((here / "model.ckpt").read_bytes())
    one, other = (run_id(method_config("fine_tune", tmp_path, *SHORT, f"method.start={p}")) for p in (here, there))
    assert one == other == run_id(method_config("fine_tune", tmp_path, *SHORT, f"method.start={here / 'model.ckpt'}"))
    (there / "model.ckpt").write_bytes(b"another")
    assert run_id(method_config("fine_tune", tmp_path, *SHORT, f"method.start={there}")) != one


def test_an_encoder_that_does_not_fit_is_named_by_its_first_parameter(tmp_path):
    source = run(method_config("source_only", tmp_path, *SHORT))
    start = f"method.start={tmp_path / source.run_id}"
    wrong = (
        r"method\.start: the encoder of .* does not fit: encoder\.layers\.4\.weight is \(8, 12\) there and \(9, 12\)"
    )
    with pytest.raises(ConfigError, match=wrong):
        run(method_config("fine_tune", tmp_path, *SHORT, "encoder.hidden=[12,9]", start))
    with pytest.raises(ConfigError, match=r"encoder\.layers\.0\.bias is absent there and \(12,\) here"):
        run(method_config("fine_tune", tmp_path, *SHORT, "encoder.batch_norm=false", start))


def test_a_head_of_other_classes_is_made_anew_and_the_record_says_so(tmp_path):
    source = run(method_config("source_only", tmp_path, *SHORT))
    content = load_model_file(tmp_path / source.run_id)
    content["outcome"]["classes"] = ["other", "names"]
    (tmp_path / "other").mkdir()
    torch.save(content, tmp_path / "other" / "model.ckpt")
    words = [*SHORT, "optimizer.lr=1e-12", "optimizer.weight_decay=0"]
    same, new = (
        run(method_config("surgical", tmp_path, *words, f"method.start={tmp_path / name}"))
        for name in (source.run_id, "other")
    )
    assert same.data["method"]["start"]["head"] == "source"
    assert new.data["method"]["start"]["head"].startswith("new")
    theirs = content["model"]["head.weight"]
    assert torch.equal(weights(tmp_path, same)["head.weight"], theirs)
    assert (weights(tmp_path, new)["head.weight"] - theirs).abs().max() > 1e-2


def test_a_run_starts_from_the_weights_that_were_measured(tmp_path):
    words = [*SHORT, "optimizer.lr=1e-12", "optimizer.weight_decay=0", "encoder.batch_norm=false"]
    mixed = run(method_config("wise_ft", tmp_path, *SHORT, "encoder.batch_norm=false", "method.alpha=0.5"))
    started = run(method_config("fine_tune", tmp_path, *words, f"method.start={tmp_path / mixed.run_id}"))
    for key in ("target_test/log_loss", "source_test/log_loss"):
        assert started.metrics["last"][key] == pytest.approx(mixed.metrics["last"][key], abs=1e-6)


def test_a_table_of_other_categories_is_refused_though_its_shape_fits():
    column = {"name": "colour", "values": ["blue", "red"], "missing": False}
    here = {"kind": "table", "numeric": [], "categorical": [column]}
    there = {**here, "categorical": [{**column, "values": ["blue", "green"]}]}
    starting._check_columns(here, {**here}, "runs/x")
    with pytest.raises(ConfigError, match=r"method\.start: the inputs of runs/x are others: column 'colour'"):
        starting._check_columns(here, there, "runs/x")


def test_the_recipe_of_a_start_needs_no_file_to_be_read_back(tmp_path):
    """Prediction composes the configuration that a model file holds, wherever its start has gone."""
    config = method_config("fine_tune", tmp_path, *SHORT, f"method.start={tmp_path / 'gone'}")
    assert compose(OmegaConf.to_container(config)) == config
