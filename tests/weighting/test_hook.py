"""`method.weighting`: any method that trains on the source takes it, and one that cannot use it says so."""

from __future__ import annotations

import logging

import pytest
import torch

from tests.contracts.problem import LABELLED, is_closed_form, method_config, module_and_batch
from tl_research.config import compose
from tl_research.errors import ConfigError
from tl_research.methods import base
from tl_research.methods.base import AdaptationModule
from tl_research.methods.build import build_method
from tl_research.methods.step import Step
from tl_research.registry import METHODS, SOURCE_FREE, WEIGHTINGS
from tl_research.runs.experiment import run
from tl_research.runs.predictor import Predictor
from tl_research.storage.checkpoints import load_model_file
from tl_research.training.resume import ResumeCheckpoint

METHODS_WITHOUT_ONE = [name for name in LABELLED if METHODS.get(name).weighting is None]
NO_SOURCE = [name for name in METHODS_WITHOUT_ONE if "source" not in METHODS.get(name).target.reads]
#: They read source rows and have no task loss of them.
NO_TASK = ["contrastive"]
WEIGHABLE = [name for name in METHODS_WITHOUT_ONE if name not in (*NO_SOURCE, *NO_TASK)]
SMALL = ("data.n_source=200", "data.n_target=200")


def recipe(**method) -> dict:
    return {"data": {"name": "simulated_market"}, "method": method}


def outputs(method: str, *overrides: str) -> torch.Tensor:
    """What the weights can change: the fitted head's logits, or the source's task loss."""
    from tests.contracts.problem import data_of

    config = method_config(method, "unused", *SMALL, *overrides)
    data = data_of(config, METHODS.get(method).target.reads)
    torch.manual_seed(0)
    module = build_method(config, data.spec, data.outcome)
    sides = data.sides
    module.prepare(sides["source"], sides["target"], sides.get("target_labeled"))
    if is_closed_form(method):
        with torch.no_grad():
            return module.eval()(sides["target"].inputs)[1]
    return module.loss_terms(Step(module, next(iter(data.train_dataloader())), module.phase(0)))["source_task"].detach()


@pytest.mark.parametrize("method", WEIGHABLE)
def test_weights_change_the_fit_of_every_method_that_sees_the_source(method, monkeypatch):
    monkeypatch.setattr(AdaptationModule, "progress", 0.5)
    plain = outputs(method)
    assert torch.equal(plain, outputs(method))
    assert (outputs(method, "method.weighting=density_ratio") - plain).abs().max() > 1e-4


@pytest.mark.parametrize("method", NO_SOURCE)
def test_a_method_without_source_rows_refuses_weights(method):
    with pytest.raises(ConfigError, match=rf"^method\.weighting: method '{method}' trains on no source row"):
        method_config(method, "unused", "method.weighting=density_ratio")


@pytest.mark.parametrize("method", NO_TASK)
def test_a_method_without_a_loss_of_the_source_refuses_weights(method):
    with pytest.raises(ConfigError, match=r"^method\.weighting: got 'density_ratio', wants nothing: method"):
        method_config(method, "unused", "method.weighting=density_ratio")


def test_there_are_methods_of_both_kinds():
    source_free = {entry.name for entry in METHODS.entries() if entry.settings == (SOURCE_FREE,)}
    assert set(NO_SOURCE) == {"target_ensemble", "target_only", "target_oracle"} | source_free
    assert {"dann", "shallow", "tradaboost", "group_dro", "learn_to_reweight", "iwan"} <= set(WEIGHABLE)


def test_a_head_without_weights_refuses_them_before_anything_is_read():
    with pytest.raises(ConfigError, match=r"^method\.weighting: head 'nearest_neighbours' takes no weights"):
        compose(recipe(name="shallow", head="nearest_neighbours", weighting="kmm"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method.weighting=kmn"], r"^method\.weighting\.name: there is no weighting 'kmn'; did you mean 'kmm'"),
        (["method.weighting={name: kmm, clp: 10}"], r"^method\.weighting\.clp: unknown key; did you mean 'clip'"),
        (["method.weighting={name: kmm, clip: 0.5}"], r"^method\.weighting\.clip: got 0.5, wants 1 or more"),
        (["method.weighting={name: kmm, clip: much}"], r"method\.weighting\.clip"),
        (["method.weighting.clip=10"], r"^method\.weighting\.name: missing; one of .*kmm"),
        (["method.weighting=3"], r"^method\.weighting: got 3, wants a name, or keys below it"),
        (["method.weigting=kmm"], r"^method\.weigting: unknown key; did you mean 'weighting'"),
        (["method.weighting=kmm", "method.weighting.clip=0.5"], r"^method\.weighting\.clip: got 0.5, wants 1 or more"),
    ],
)
def test_a_mistake_on_the_command_line_names_the_key(overrides, message):
    with pytest.raises(ConfigError, match=message):
        compose(recipe(name="dann"), overrides)


def test_options_from_recipe_and_command_line_meet():
    config = compose(recipe(name="dann"), ["method.weighting={name: kmm, clip: 10}"])
    assert (config.method.weighting.name, config.method.weighting.clip) == ("kmm", 10)
    apart = compose(recipe(name="dann"), ["method.weighting=kmm", "method.weighting.clip=10"])
    assert apart.method.weighting == config.method.weighting
    named = recipe(name="shallow", weighting="kmm")
    assert compose(named, ["method.weighting.clip=5"]).method.weighting.clip == 5
    # Another weighting drops the options of the recipe's.
    own = recipe(name="shallow", weighting={"name": "kliep", "folds": 3, "clip": 4})
    for override in ("method.weighting=kmm", "method.weighting.name=kmm"):
        changed = compose(own, [override]).method.weighting
        assert (changed.name, changed.clip) == ("kmm", None)
    assert compose(own, ["method.weighting.name=kliep"]).method.weighting.folds == 3
    assert compose(own, ["method.weighting=null"]).method.weighting is None


def test_a_method_that_is_a_weighting_is_that_one():
    with pytest.raises(
        ConfigError, match=r"^method\.weighting\.name: method 'kmm' is the weighting 'kmm', got 'kliep'"
    ):
        compose(recipe(name="kmm"), ["method.weighting=kliep"])
    with pytest.raises(ConfigError, match=r"^method\.weighting: method 'kmm' is this weighting"):
        compose(recipe(name="kmm"), ["method.weighting=null"])
    assert set(WEIGHTINGS.names()) <= set(METHODS.names())


def test_the_record_tells_what_the_weights_are_worth(tmp_path, caplog):
    words = ("trainer.max_epochs=1", "method.weighting={name: density_ratio, warn_below: 0.99}")
    with caplog.at_level(logging.WARNING):
        record = run(method_config("dann", tmp_path, *SMALL, *words))
    facts = record.data["method"]["weighting"]
    rows = record.data["rows"]["source"]
    assert facts["name"] == "density_ratio"
    assert 1 <= facts["effective_sample_size"] < 0.99 * rows
    assert facts["effective_share"] == pytest.approx(facts["effective_sample_size"] / rows)
    assert facts["largest"] > 1
    assert f"of {rows} source rows" in facts["warning"]
    assert facts["warning"] in caplog.text
    weight = load_model_file(tmp_path / record.run_id)["model"]["row_weights.source"]
    assert weight.mean().item() == pytest.approx(1, abs=1e-5)
    assert weight.max().item() == pytest.approx(facts["largest"], rel=1e-5)


def test_clip_bounds_the_largest_weight(tmp_path):
    words = ("trainer.max_epochs=1", "method.weighting={name: density_ratio, clip: 2}")
    facts = run(method_config("source_only", tmp_path, *SMALL, *words)).data["method"]["weighting"]
    assert facts["largest"] > 1
    free = run(method_config("source_only", tmp_path, *SMALL, words[0], "method.weighting=density_ratio"))
    assert free.data["method"]["weighting"]["largest"] > 1.5 * facts["largest"]


@pytest.mark.parametrize("method", ["dann", "group_dro"])
def test_a_resumed_run_keeps_its_weights_and_computes_none(method, tmp_path, monkeypatch):
    short = (*SMALL, "trainer.max_epochs=2", "trainer.checkpoint_every_n_steps=3", "method.weighting=kliep")
    undisturbed = run(method_config(method, tmp_path / "whole", *short))
    config = method_config(method, tmp_path / "killed", *short)
    save, weigh = ResumeCheckpoint.save, base.weigh_rows

    def save_then_die(self, trainer):
        save(self, trainer)
        raise KeyboardInterrupt

    def never(*args, **kwargs):
        raise AssertionError("the weights were computed again")

    monkeypatch.setattr(ResumeCheckpoint, "save", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        run(config)
    monkeypatch.setattr(ResumeCheckpoint, "save", save)
    monkeypatch.setattr(base, "weigh_rows", never)
    record = run(config)
    monkeypatch.setattr(base, "weigh_rows", weigh)
    assert record.metrics == undisturbed.metrics
    whole, killed = (load_model_file(tmp_path / part / record.run_id)["model"] for part in ("whole", "killed"))
    assert whole.keys() == killed.keys()
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    assert record.data == undisturbed.data


def test_bf16_takes_the_same_weights(tmp_path):
    words = (*SMALL, "trainer.max_epochs=1", "method.weighting=density_ratio")
    full, mixed = (
        run(method_config("dann", tmp_path, *words, *more)) for more in ([], ["trainer.precision=bf16-mixed"])
    )
    assert mixed.data["method"] == full.data["method"]
    term = "train/source_task"
    assert mixed.metrics["last"][term] == pytest.approx(full.metrics["last"][term], rel=0.1, abs=0.02)


@pytest.mark.parametrize("method", ["shallow", "dann", "tradaboost"])
def test_a_weighted_run_is_loaded_as_it_was(method, tmp_path):
    record = run(method_config(method, tmp_path, *SMALL, "trainer.max_epochs=1", "method.weighting=kmm"))
    module = Predictor.load(tmp_path / record.run_id).module
    kept = load_model_file(tmp_path / record.run_id)["model"]
    assert module.row_weights.is_fitted
    assert all(torch.equal(value, kept[name]) for name, value in module.state_dict().items())


def test_weights_reach_the_source_loss_by_row():
    module, batch = module_and_batch("density_ratio")
    rows = module.encode(batch.source)
    weight = module.source_weights(Step(module, batch, module.phase(0)))
    assert torch.equal(weight, module.row_weights.source[batch.source.index])
    losses = torch.nn.functional.cross_entropy(rows.logits, rows.label, reduction="none")
    terms = module.loss_terms(Step(module, batch, module.phase(0)))
    torch.testing.assert_close(terms["source_task"], (weight * losses).mean())
