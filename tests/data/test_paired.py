import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from tl_research.config import compose
from tl_research.data.paired import PairedDataModule
from tl_research.errors import DataError


def module(*overrides, seed=0, recipe=None) -> PairedDataModule:
    base = recipe if recipe is not None else {"data": {"name": "simulated_market", "n_source": 400, "n_target": 300}}
    config = compose(base, list(overrides))
    data = PairedDataModule(OmegaConf.to_object(config.data), seed=seed)
    data.setup()
    return data


FEW = ("data.setting=few_shot", "data.shots=10", "method.name=fine_tune")
ALL = ("data.setting=supervised", "method.name=target_only")


@pytest.mark.parametrize("words", [(), FEW, ALL])
def test_the_unlabelled_side_is_hidden_in_every_setting(words):
    data = module(*words)
    assert (data.sides["target"].label == -1).all()
    assert (data.sides["source"].label >= 0).all()
    assert ("target_labeled" in data.sides) == bool(words)


def test_what_is_shown_is_exactly_the_budget():
    data = module(*FEW)
    splits = data.release_evaluation()
    assert torch.bincount(data.sides["target_labeled"].label).tolist() == [8, 8]
    assert torch.bincount(splits["target_val"].label).tolist() == [2, 2]
    assert data.facts["target_labels_used"] == 20
    assert "target_val" not in module().release_evaluation()


def test_no_row_is_trained_on_and_tested_on():
    for words in ((), FEW, ALL):
        data = module(*words)
        splits = data.release_evaluation()
        trained = {tuple(row) for side in data.sides.values() for row in side.inputs.tolist()}
        for name in ("source_val", "source_test", "target_test"):
            tested = {tuple(row) for row in splits[name].inputs.tolist()}
            assert not tested & trained, (words, name)


def test_what_chooses_the_epoch_trains_in_no_form(monkeypatch):
    """A fifth of the shown labels validates: those rows do not train unlabelled, and no statistic sees them."""
    import tl_research.data.paired as paired

    seen = []
    original = paired.make_transform
    monkeypatch.setattr(paired, "make_transform", lambda parts, scale: seen.extend(parts) or original(parts, scale))
    for words in (FEW, ALL):
        seen.clear()
        data = module(*words)
        held_out = {tuple(row) for row in data.release_evaluation()["target_val"].inputs.tolist()}
        trained = {tuple(row) for side in data.sides.values() for row in side.inputs.tolist()}
        fitted = {tuple(row) for row in data.transform.transform(np.concatenate(seen)).tolist()}
        assert len(held_out) >= 4
        assert not held_out & trained, words
        assert not held_out & fitted, words


def test_evaluation_labels_are_handed_over_once():
    data = module()
    data.release_evaluation()
    with pytest.raises(RuntimeError, match="handed over"):
        data.release_evaluation()


def test_the_transform_sees_training_rows_only(monkeypatch):
    import tl_research.data.paired as paired

    seen = []
    original = paired.make_transform

    def spy(parts, scale):
        seen.extend(parts)
        return original(parts, scale)

    monkeypatch.setattr(paired, "make_transform", spy)
    data = module(*FEW)
    rows = sum(len(part) for part in seen)
    assert rows == data.facts["rows"]["source"] + data.facts["rows"]["target"]
    again = data.transform.transform(np.concatenate(seen))
    together = torch.cat([data.sides["source"].inputs, data.sides["target"].inputs])
    assert torch.equal(again, together)


def test_several_sources_are_joined_and_numbered():
    data = module("data.sources=[old_market,third_market]")
    source = data.sides["source"]
    assert source.domain.unique().tolist() == [0, 1]
    assert torch.equal(source.index, torch.arange(source.size))
    assert (data.sides["target"].domain == 2).all()


@pytest.mark.parametrize("labelled", [60, 200])
def test_a_target_with_few_labels_trains_on_the_rest_unlabelled(tmp_path, labelled):
    rng = np.random.default_rng(0)
    for name, rows in (("old", 300), ("new", 400)):
        frame = pd.DataFrame(rng.normal(size=(rows, 3)), columns=list("abc"))
        frame["bought"] = np.where(rng.random(rows) < 0.5, "yes", "no")
        if name == "new":
            frame.loc[labelled:, "bought"] = None
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    words = [
        "data.name=files",
        f"data.sources=[{tmp_path}/old.csv]",
        f"data.target={tmp_path}/new.csv",
        "data.label=bought",
    ]
    plain = module(*words, recipe={})
    splits = plain.release_evaluation()
    assert len(splits["target_test"].label) == labelled // 4
    assert (splits["target_test"].label >= 0).all()
    assert plain.sides["target"].size == 400 - labelled // 4
    shown = module(*words, "data.setting=supervised", "method.name=target_only", recipe={})
    assert (shown.sides["target_labeled"].label >= 0).all()
    assert shown.facts["target_labels_used"] == labelled - labelled // 4


def test_an_unlabelled_source_row_is_refused_by_number(tmp_path):
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0] * 20, "y": [0, 1, 0] * 20})
    frame.to_csv(tmp_path / "new.csv", index=False)
    frame["y"] = frame["y"].astype(object)
    frame.loc[4, "y"] = None
    frame.to_csv(tmp_path / "old.csv", index=False)
    words = ["data.name=files", f"data.sources=[{tmp_path}/old.csv]", f"data.target={tmp_path}/new.csv", "data.label=y"]
    with pytest.raises(DataError, match=r"old\.csv.*row 5"):
        module(*words, recipe={})


def test_no_label_in_the_target_at_all(tmp_path):
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0] * 20, "y": [0, 1, 0] * 20})
    frame.to_csv(tmp_path / "old.csv", index=False)
    frame.assign(y=None).to_csv(tmp_path / "new.csv", index=False)
    words = ["data.name=files", f"data.sources=[{tmp_path}/old.csv]", f"data.target={tmp_path}/new.csv", "data.label=y"]
    with pytest.raises(DataError, match=r"new\.csv"):
        module(*words, recipe={})
