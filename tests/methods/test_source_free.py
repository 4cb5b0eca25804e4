"""Source-free: no source row is read after the source run, and what the methods then gain."""

from __future__ import annotations

import dataclasses
from statistics import median

import numpy as np
import pandas as pd
import pytest
import torch

from tests.contracts.chosen import proofs
from tests.contracts.problem import method_config, module_and_batch
from tests.methods import moons
from tl_research.config import compose, run_id
from tl_research.errors import ConfigError, DataError
from tl_research.methods.step import Step
from tl_research.registry import DATASETS, METHODS
from tl_research.runs.experiment import run
from tl_research.runs.predictor import Predictor

METHODS_OF_IT = [entry.name for entry in METHODS.entries() if entry.settings == ("source_free",)]
GAINING = ("shot", "shot_im", "nrc")


def test_there_are_six():
    assert METHODS_OF_IT == ["adabn", "eata", "nrc", "shot", "shot_im", "tent"]


# No source row


@pytest.mark.parametrize("method", METHODS_OF_IT)
def test_the_reader_is_asked_for_the_target_alone(method, tmp_path, monkeypatch):
    entry, asked = DATASETS.get("simulated_market"), []
    read = entry.target

    def watched(config, names):
        asked.append(list(names))
        return read(config, names)

    monkeypatch.setitem(DATASETS._entries, entry.name, dataclasses.replace(entry, target=watched))
    config = method_config(method, tmp_path, "data.n_source=300", "data.n_target=300", "trainer.max_epochs=2")
    record = run(config)
    assert asked == [[*config.data.sources, config.data.target], [config.data.target]]
    assert record.data["domains_read"] == [config.data.target]
    assert "source" not in record.data["rows"]
    assert not [key for figures in record.metrics.values() for key in figures if key.startswith("source")]
    source = record.data["method"]["start"]["source_run_id"]
    assert (tmp_path / source / "model.ckpt").is_file()
    assert source != record.run_id


def shop(seed: int, moved: float, n: int = 240) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 3))
    label = np.where(x[:, 0] + 0.5 * x[:, 1] > 0, "buys", "leaves")
    colour = random.choice(["red", "green"], n)
    return pd.DataFrame({"a": 1.5 * x[:, 0] + moved, "b": x[:, 1] + moved, "c": x[:, 2], "colour": colour, "y": label})


def of_files(folder, method: str, *words: str):
    base = [
        "data.name=files", f"data.sources=[{folder}/old.csv]", f"data.target={folder}/new.csv", "data.label=y",
        "encoder={name: tabular, hidden: [16], batch_norm: true}", f"output={folder}/runs", f"method.name={method}",
        "trainer.max_epochs=3", "trainer.accelerator=cpu", "wandb.mode=disabled",
    ]  # fmt: skip
    return compose({}, [*base, *words])


@pytest.fixture
def folder(tmp_path):
    shop(0, 0.0).to_csv(tmp_path / "old.csv", index=False)
    shop(1, 1.0).to_csv(tmp_path / "new.csv", index=False)
    return tmp_path


def test_the_source_s_file_may_be_gone(folder):
    source = run(of_files(folder, "source_only"))
    start = f"method.start={folder}/runs/{source.run_id}"
    words = ("data.setting=source_free", start)
    there = run(of_files(folder, "shot", *words, f"output={folder}/there"))
    (folder / "old.csv").unlink()
    gone = run(of_files(folder, "shot", *words))
    assert gone.metrics == there.metrics
    assert gone.data["domains_read"] == [str(folder / "new.csv")]
    # The same rows are tested as by the source run, whose splits were drawn from both files.
    sizes = [record.data["rows"]["target_test"] for record in (source, gone)]
    assert sizes[0] == sizes[1]
    predicted = Predictor.load(folder / "runs" / gone.run_id).predict(shop(2, 1.0).drop(columns="y"))
    assert set(predicted["prediction"]) <= {"buys", "leaves"}


def test_a_step_of_nothing_is_the_source_run_on_the_same_test_rows(folder):
    words = ("encoder.batch_norm=false",)
    source = run(of_files(folder, "source_only", *words))
    untouched = run(of_files(folder, "shot_im", "data.setting=source_free", "method.lr_scale=1e-30", *words))
    assert untouched.data["method"]["start"]["source_run_id"] == source.run_id
    of_source, of_target = source.metrics[source.selection_rule], untouched.metrics["last"]
    shared = {key for key in of_target if key.startswith("target_test/")}
    assert len(shared) > 3
    assert {key: of_target[key] for key in shared} == {key: of_source[key] for key in shared}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("data.setting=unsupervised",), "data.setting: method 'shot' needs one of source_free"),
        (("method.start=phases",), "method.start: got 'phases', wants cached, or the path"),
        (("selection.rule=source_val",), "selection.rule: got 'source_val', wants one of last, im"),
        (("selection.rule=mmd",), "selection.rule: got 'mmd', wants one of last, im"),
        (("method.weighting=kmm",), "method.weighting: method 'shot' trains on no source row"),
        (("method.start=nowhere",), "method.start: nowhere/model.ckpt: there is no such file"),
        (("data.rows=200",), "data.rows: got 200, wants nothing"),
        (("data.target={0}/other.csv",), "the label 'haggles' is none of the classes buys, leaves"),
        (("data.target={0}/short.csv",), "short.csv lacks the columns 'b'"),
    ],
)
def test_what_does_not_go_is_refused(words, message, folder):
    shop(2, 0.0).replace("leaves", "haggles").to_csv(folder / "other.csv", index=False)
    shop(2, 0.0).drop(columns="b").to_csv(folder / "short.csv", index=False)
    source = run(of_files(folder, "source_only"))
    base = ["data.setting=source_free", f"method.start={folder}/runs/{source.run_id}"]
    with pytest.raises((ConfigError, DataError), match=message):
        run(of_files(folder, "shot", *base, *(word.format(folder) for word in words)))


def test_an_altered_model_file_of_the_source_is_named(folder):
    source = run(of_files(folder, "source_only"))
    path = folder / "runs" / source.run_id / "model.ckpt"
    content = torch.load(path, weights_only=True)
    content["transform"] = {"kind": "table"}
    torch.save(content, path)
    start = f"method.start={folder}/runs/{source.run_id}"
    with pytest.raises(DataError, match=r"model\.ckpt: does not make a model"):
        run(of_files(folder, "shot", "data.setting=source_free", start))


def test_one_file_of_all_domains_is_refused(folder):
    both = pd.concat([shop(0, 0.0).assign(market="old"), shop(1, 1.0).assign(market="new")])
    both.to_csv(folder / "both.csv", index=False)
    words = [f"data.path={folder}/both.csv", "data.domain_column=market", "data.sources=[old]", "data.target=new"]
    source = run(of_files(folder, "source_only", *words))
    start = f"method.start={folder}/runs/{source.run_id}"
    with pytest.raises(ConfigError, match=r"data\.path: .* one file of all domains has the source's rows"):
        run(of_files(folder, "shot", *words, "data.setting=source_free", start))


@pytest.mark.parametrize("method", ["tent", "adabn", "eata"])
def test_an_encoder_without_batch_norm_is_refused(method, tmp_path):
    with pytest.raises(ConfigError, match=r"encoder\.batch_norm: got False, wants true"):
        method_config(method, tmp_path, "encoder.batch_norm=false")
    config = method_config(method, tmp_path, "encoder={name: identity}", "data.n_source=300", "data.n_target=300")
    with pytest.raises(ConfigError, match=r"encoder\.name: 'identity' has no batch norm"):
        run(config)


def test_the_id_says_which_run_it_begins_with(folder):
    source = run(of_files(folder, "source_only"))
    other = run(of_files(folder, "source_only", "seed=1"))
    starts = [f"method.start={folder}/runs/{record.run_id}" for record in (source, other)]
    ids = {run_id(of_files(folder, "shot", "data.setting=source_free", start)) for start in starts}
    assert len(ids) == 2


# What the methods do


@pytest.mark.parametrize("method", proofs(GAINING))
def test_gains_on_two_moons(method):
    words = moons.options(method)
    gains = [
        moons.recipe_accuracy(method, seed, "data.setting=source_free", "selection.rule=last", *words)
        - moons.recipe_accuracy("source_only", seed)
        for seed in moons.SEEDS
    ]
    assert median(gains) >= moons.WANTED, gains


def test_the_head_is_that_of_the_source_and_stays(tmp_path):
    config = method_config("shot", tmp_path, "data.n_source=300", "data.n_target=300", "trainer.max_epochs=2")
    record = run(config)
    start = Predictor.load(tmp_path / record.data["method"]["start"]["source_run_id"]).module
    adapted = Predictor.load(tmp_path / record.run_id).module
    assert torch.equal(start.head.weight, adapted.head.weight)
    assert not torch.equal(start.encoder.layers[0].weight, adapted.encoder.layers[0].weight)


def test_norms_alone_are_trained(tmp_path):
    config = method_config("tent", tmp_path, "data.n_source=300", "data.n_target=300", "trainer.max_epochs=2")
    record = run(config)
    start = Predictor.load(tmp_path / record.data["method"]["start"]["source_run_id"]).module.state_dict()
    adapted = Predictor.load(tmp_path / record.run_id).module.state_dict()
    moved = {name for name, value in adapted.items() if not torch.equal(value, start.get(name, value))}
    assert moved == {
        f"encoder.layers.1.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    }


def test_adabn_undoes_what_is_measured_otherwise(tmp_path):
    """Every column of the new market in another unit: the source's norms miss it, the target's have it."""
    words = ["data.measurement_shift=3.0", "data.scale=none"]
    plain = run(method_config("source_only", tmp_path, *words, "encoder.batch_norm=true"))
    adapted = run(method_config("adabn", tmp_path, *words))
    before, after = (record.metrics["last"]["target_test/auroc"] for record in (plain, adapted))
    assert after > before + 0.02


def test_shot_renews_its_labels_once_per_epoch(monkeypatch):
    module, batch = module_and_batch("shot")
    step = Step(module, batch, module.phase(0))
    module.terms(step)
    first = module.memory.label.clone()
    module.after_step(step)
    rows = step.target
    torch.testing.assert_close(module.memory.features[rows.index], rows.features.detach())
    assert torch.equal(module.memory.label, first)
    monkeypatch.setattr(type(module), "current_epoch", 1)
    module.memory.probability[:] = torch.tensor([1.0, 0.0])
    module.after_step(step)
    assert not torch.equal(module.memory.label, first)


def test_eata_counts_reliable_rows_alone():
    module, batch = module_and_batch("eata")
    step = Step(module, batch, module.phase(0))
    own = step.target.logits.detach().softmax(1)
    module.config.reliable = float(-(own * own.log()).sum(1).median() / np.log(2))  # half of the rows count
    terms = module.terms(step)
    assert 0.3 < step.reported["counted"] < 0.7
    logits = step.target.logits.detach().double()
    p = logits.softmax(1)
    entropy = -(p * p.log()).sum(1)
    level = module.config.reliable * np.log(2)
    weight = torch.where(entropy < level, (level - entropy).exp(), 0.0)
    assert terms["entropy"].item() == pytest.approx((weight * entropy).mean().item(), abs=1e-6)
    assert terms["held"].item() == 0
    with torch.no_grad():
        for name, value in module.named_parameters():
            if module.trainable(name):
                value.add_(0.1)
    fisher = sum(value.sum() for name, value in module.held.named_buffers() if name.startswith("fisher"))
    held = module.terms(Step(module, batch, module.phase(0)))["held"]
    assert held.item() == pytest.approx(2000 * 0.01 * float(fisher), rel=1e-4)
    assert fisher > 0


def test_mutual_neighbours_count_more():
    module, batch = module_and_batch("nrc")
    step = Step(module, batch, module.phase(0))
    terms = module.terms(step)
    share = step.reported["mutual"].item()
    assert 0 < share < 1
    module.config.one_sided = 1.0
    assert module.terms(Step(module, batch, module.phase(0)))["neighbours"] < terms["neighbours"]
