"""Label sets that differ: which rows are kept, what is hidden, what is refused, and that nothing else has changed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from tl_research.config import compose, run_id
from tl_research.data.domain import Domain
from tl_research.data.label_sets import cut_classes
from tl_research.data.paired import PairedDataModule
from tl_research.errors import ConfigError, UserError
from tl_research.outcomes import outcome_from
from tl_research.registry import LABEL_SETS, METHODS
from tl_research.runs.experiment import run
from tl_research.runs.predictor import Predictor

SMALL = ["data.name=simulated_classes", "data.classes=6", "data.n_source=300", "data.n_target=300"]
PARTIAL = [*SMALL, "data.label_sets=partial", "data.target_classes=[c1,c4]"]
OPEN = [*SMALL, "method.name=source_threshold", "data.label_sets=open", "data.source_classes=[c4,c0,c2]"]


def data_of(*words: str) -> PairedDataModule:
    config = compose({}, list(words))
    data = PairedDataModule(OmegaConf.to_object(config.data), seed=0)
    data.setup()
    return data


# What is kept


def test_partial_keeps_the_target_s_classes_and_the_source_s_codes():
    whole, data = data_of(*SMALL), data_of(*PARTIAL)
    assert data.outcome == whole.outcome
    assert torch.equal(data.sides["source"].label, whole.sides["source"].label)
    assert set(data.release_evaluation()["target_test"].label.tolist()) == {1, 4}
    info = data.facts["domains"]["new"]
    assert info["classes_kept"] == ["c1", "c4"]
    rows = data.facts["rows"]
    assert info["rows_of_other_classes_left_out"] == 300 - rows["target"] - rows["target_test"] > 100
    assert "simulated_classes/new: " in data.facts["remarks"][0]
    # A class that the target is not to have is no reason to ask for more labels.
    assert len(data.facts["remarks"]) == 1


def test_open_makes_one_class_of_what_the_source_does_not_have():
    whole, data = data_of(*SMALL), data_of(*OPEN)
    # In the order of the data set, whatever order they were named in.
    assert data.outcome.names == ("c0", "c2", "c4", "unknown")
    assert data.outcome.known_width == 3
    assert set(data.sides["source"].label.tolist()) == {0, 1, 2}
    code = torch.tensor([0, 3, 1, 3, 2, 3])
    label = data.release_evaluation()["target_test"].label
    assert torch.equal(label, code[whole.release_evaluation()["target_test"].label])


def test_nothing_in_the_sides_tells_an_unknown_row_from_another():
    """The rows of training are those of a closed task, in its order, and their labels are all hidden."""
    whole, data = data_of(*SMALL), data_of(*OPEN)
    target, other = data.sides["target"], whole.sides["target"]
    assert (target.label == -1).all()
    for one, two in ((target.index, other.index), (target.domain, other.domain), (target.label, other.label)):
        assert torch.equal(one, two)
    assert target.extra.keys() == other.extra.keys() == set()
    # Scaled by other statistics, as the source has fewer rows: each column an increasing line of the other's.
    for one, two in zip(target.inputs.T.double(), other.inputs.T.double(), strict=True):
        assert np.corrcoef(one, two)[0, 1] > 1 - 1e-6
        assert one.argsort().tolist() == two.argsort().tolist()


def test_equal_sets_may_be_cut_too():
    data = data_of(*SMALL, "data.source_classes=[c0,c3]", "data.target_classes=[c3,c0]")
    assert data.outcome.names == ("c0", "c3")
    assert set(data.release_evaluation()["target_test"].label.tolist()) == {0, 1}


def test_without_lists_a_domain_has_the_classes_of_its_rows(tmp_path):
    random = np.random.default_rng(0)
    for name, classes in (("old", ["a", "b", "c", "d"]), ("few", ["a", "c", "d"]), ("more", ["a", "b", "c", "d", "e"])):
        label = random.choice(classes, 200)
        table = pd.DataFrame({"x": random.normal(size=200), "z": random.normal(size=200), "y": label})
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    words = ["data.name=files", "data.label=y", f"data.sources=[{tmp_path}/old.csv]", "encoder.name=mlp"]
    partial = data_of(*words, f"data.target={tmp_path}/few.csv", "data.label_sets=partial")
    assert partial.outcome.names == ("a", "b", "c", "d")
    opened = data_of(*words, f"data.target={tmp_path}/more.csv", "data.label_sets=open", "method.name=osbp")
    assert opened.outcome.names == ("a", "b", "c", "d", "unknown")
    with pytest.raises(ConfigError, match=r"^data\.label_sets: got 'partial', wants classes of the target that are"):
        data_of(*words, f"data.target={tmp_path}/more.csv", "data.label_sets=partial")


def test_every_column_of_a_row_is_cut_and_a_row_without_a_label_stays():
    label = np.array([0, 1, 2, -1, 1, 0, 2])
    rows = np.arange(7)
    table = pd.DataFrame({"x": rows})
    domain = Domain(
        "new", table, label, ("a", "b", "c"), split=rows % 2, row_hash=rows.astype(np.uint64),
        aside=table.rename(columns={"x": "id"}), extra={"user": rows},
    )  # fmt: skip
    source = dataclasses.replace(domain, label=np.array([0, 1, 2, 0, 1, 0, 2]))
    group = OmegaConf.to_object(compose({}, PARTIAL).data)
    config = dataclasses.replace(group, target_classes=["c", "a"])
    (_,), cut = cut_classes(config, [source], domain)
    kept = [0, 2, 3, 5, 6]
    assert cut.label.tolist() == [0, 2, -1, 0, 2]
    assert cut.inputs["x"].tolist() == cut.aside["id"].tolist() == cut.extra["user"].tolist() == kept
    assert cut.row_hash.tolist() == kept
    assert cut.split.tolist() == [0, 0, 1, 1, 0]
    assert cut.place(1) == "new, row 3"


# What is refused


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.target_classes=[c1,cat]"], r"data\.target_classes: got 'cat'.*known: c0"),
        (["data.target_classes=[c1]"], r"data\.target_classes: got \['c1'\], wants two different classes or more"),
        (["data.target_classes=[c1,c1]"], r"data\.target_classes: .*two different"),
        (
            ["data.target_classes=null"],
            r"data\.label_sets: got 'partial', wants classes of the target that are some of",
        ),
        (["data.source_classes=[c1,c2]", "data.target_classes=[c1,c3]"], r"data\.label_sets: got 'partial'"),
        (["data.label_sets=equal"], r"data\.target_classes: .*because data\.label_sets=equal"),
        (["data.label_sets=opened"], r"data\.label_sets: got 'opened'; did you mean 'open'"),
        (["data.label_sets=open"], r"method\.name: 'source_only' has no output for target rows of none.*taken by"),
        (["method.name=osbp"], r"method\.name: 'osbp' .*takes data\.label_sets=open, got 'partial'"),
        (["method.name=osbp", "data.label_sets=open"], r"data\.label_sets: got 'open', wants classes that both have"),
        (
            ["method.name=dance", "data.label_sets=open", "data.source_classes=[c0,c2]", "data.target_classes=[c1,c3]"],
            r"data\.label_sets: got 'open', wants classes that both have, and some of the target alone; the sources",
        ),
        (["method.name=tent", "data.setting=source_free"], r"data\.label_sets: .*finished run"),
        (["data.name=used_cars", "data.sources=[a]", "data.target=b"], r"data\."),
    ],
)
def test_a_mistake_is_one_line_with_its_key(words, message):
    with pytest.raises(UserError, match=message) as caught:
        data_of(*PARTIAL, *words)
    assert "\n" not in str(caught.value)


def test_numbers_have_no_label_sets():
    words = ["data.name=simulated_market", "data.task=regression", "data.label_sets=partial"]
    with pytest.raises(ConfigError, match=r"^data\.label_sets: .*kind regression"):
        compose({}, words)


def test_numbers_of_files_are_refused_once_they_are_read(tmp_path):
    for name in ("old", "new"):
        x = np.random.default_rng(0).normal(size=100)
        pd.DataFrame({"x": x, "y": 2.5 * x}).to_csv(tmp_path / f"{name}.csv", index=False)
    words = ["data.name=files", "data.label=y", f"data.sources=[{tmp_path}/old.csv]", f"data.target={tmp_path}/new.csv"]
    with pytest.raises(ConfigError, match=r"^data\.source_classes: got \[\], wants two classes or more .*regression"):
        data_of(*words, "encoder.name=mlp", "data.label_sets=partial")


def test_a_class_without_rows_is_refused():
    with pytest.raises(ConfigError, match=r"^data\.source_classes: old has no row of class 'c2'"):
        data_of(*OPEN, "data.classes=40", "data.n_source=20", "data.source_classes=[c0,c2]")


def test_open_shows_no_target_label(monkeypatch):
    entry = METHODS.get("osbp")
    monkeypatch.setitem(METHODS._entries, "osbp", dataclasses.replace(entry, settings=("unsupervised", "few_shot")))
    with pytest.raises(ConfigError, match=r"^data\.setting: got 'few_shot', wants unsupervised.*open"):
        compose({}, [*OPEN, "method.name=osbp", "data.setting=few_shot", "data.shots=5"])


def test_every_closed_method_refuses_open_and_takes_partial():
    opened = [entry.name for entry in METHODS.entries() if "open" in entry.label_sets]
    assert opened == ["dance", "osbp", "source_threshold"]
    for entry in METHODS.entries():
        assert set(entry.label_sets) <= set(LABEL_SETS)
        assert entry.name in opened or entry.label_sets == ("equal", "partial")


# A run


def test_run_ids_are_those_of_before():
    plain = compose({}, SMALL)
    assert run_id(plain) == run_id(compose({}, [*SMALL, "data.label_sets=equal", "data.source_classes=null"]))
    ids = {run_id(compose({}, words)) for words in (SMALL, PARTIAL, [*PARTIAL, "data.target_classes=[c1,c5]"])}
    assert len(ids) == 3


def test_a_model_of_an_open_task_predicts_unknown_and_is_loaded_as_it_was(tmp_path):
    words = ["method.name=source_threshold", "trainer.max_epochs=2", "trainer.accelerator=cpu", "wandb.mode=disabled"]
    record = run(compose({}, [*OPEN, *words, f"output={tmp_path}"]))
    figures = record.metrics["last"]
    assert {"target_test/h_score", "target_test/known_accuracy", "target_test/unknown_accuracy"} <= figures.keys()
    assert "source_val/h_score" not in figures
    predictor = Predictor.load(tmp_path / record.run_id)
    assert predictor.module.outcome.has_unknown
    outcome = predictor.module.outcome
    assert outcome_from(outcome.state_dict()) == outcome
    columns = outcome.columns(predictor.module.eval()(torch.randn(5, 10))[1].detach())
    assert {"prediction", "p_c0", "p_unknown"} <= columns.keys()
