"""Categories of many values keep the frequent ones; texts are told from categories; neither reads a label."""

import numpy as np
import pandas as pd
import pytest

from tl_research.data.catalog.files import FilesConfig, load
from tl_research.data.matrix import matrix_width
from tl_research.data.new_rows import NewRows, read_new_rows, table_of
from tl_research.data.paired import PairedDataModule
from tl_research.data.readers.many_values import MOST_VALUES, OTHER, values_to_keep
from tl_research.data.readers.schema import Schema
from tl_research.errors import ConfigError

WORDS = ["red", "blue", "soft", "warm", "large", "small", "cotton", "shirt", "hat", "shoe", "nice", "fits", "badly"]


def column(values):
    return pd.Series(np.array(values, dtype=object))


def test_the_frequent_values_of_the_mean_domain_are_kept():
    old = column([f"o{value}" for value in range(500) for _ in range(10)])
    new = column(["n1"] * 30 + ["n2"] * 20 + ["single"])
    (kept,) = values_to_keep({"x": [old, new]}, 0).values()
    assert len(kept) == MOST_VALUES - 1
    assert kept[:2] == ("n1", "n2"), "50 rows of a small file are more than 10 of a large one"
    assert "single" not in kept
    assert values_to_keep({"x": [new, new]}, 0) == {}, "few values stay as they are"
    rng = np.random.default_rng(0)
    order = rng.permutation(len(old))
    assert values_to_keep({"x": [old.iloc[order], new]}, 0)["x"] == kept, "the order of the rows says nothing"
    names = column([f"name {value}" for value in range(1000)])
    assert values_to_keep({"x": [names]}, 0) == {}, "what names rows is no category"


def test_all_columns_together_are_bounded():
    rng = np.random.default_rng(0)
    many = {f"c{at}": [column([f"v{value}" for value in rng.integers(0, 150, 3000)])] for at in range(20)}
    kept = values_to_keep(many, numbers=100)
    assert 800 < sum(len(values) + 1 for values in kept.values()) <= 900
    few = {f"c{at}": [column([f"v{value}" for value in rng.integers(0, 15, 3000)])] for at in range(100)}
    assert values_to_keep(few, 0) == {}


def shop(n, seed):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"price": rng.uniform(1, 9, n).round(2)})
    frame["article"] = [f"A{value}" for value in rng.zipf(1.3, n) % 5000]
    frame["review"] = [" ".join(rng.choice(WORDS, 8)) for _ in range(n)]
    frame["size"] = rng.choice(["one size fits all", "made to your measure"], n)
    return frame.assign(y=rng.choice(["no", "yes"], n))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shop(4000, 0).to_csv("s.csv", index=False)
    shop(600, 1).to_csv("t.csv", index=False)


def domains(**more):
    found = load(FilesConfig(**{"sources": ["s.csv"], "target": "t.csv", "label": "y"} | more), ["s.csv", "t.csv"])
    return found["s.csv"], found["t.csv"]


def test_files_are_bounded_and_say_so(folder):
    source, target = domains()
    values = set(source.inputs["article"]) | set(target.inputs["article"])
    assert len(values) == MOST_VALUES
    assert OTHER in values
    said = [line for line in target.remarks if "'article'" in line]
    assert "the 199 most frequent are kept" in said[0]
    assert "data.schema.article={kind: category, values: all}" in said[0]
    assert "categories: article (the 199 most frequent values), size (2 values)" in target.schema.said
    whole = domains(schema={"article": {"kind": "category", "values": "all"}})[1]
    assert whole.schema.columns["article"].kept == ()
    assert set(whole.inputs["article"]) > set(target.inputs["article"]) - {OTHER}
    with pytest.raises(ConfigError, match=r"data\.schema\.article\.values: got 'some'"):
        domains(schema={"article": {"kind": "category", "values": "some"}})


def test_no_label_decides(folder):
    kept = domains()[1].schema.columns["article"].kept
    for name in ("s.csv", "t.csv"):
        frame = pd.read_csv(name)
        frame.assign(y=frame["y"].to_numpy()[::-1]).to_csv(name, index=False)
    assert domains()[1].schema.columns["article"].kept == kept


def test_texts_are_found_and_named_and_the_user_may_differ(folder):
    target = domains()[1]
    assert target.schema.columns["review"].kind == "text"
    assert "texts: review" in target.schema.said
    assert target.schema.columns["size"].kind == "category", "two sentences are two kinds of rows"
    for wish, kind in (({"size": "text"}, ["review", "size"]), ({"review": "category", "size": "text"}, ["size"])):
        target = domains(schema=wish)[1]
        assert [name for name, rule in target.schema.columns.items() if rule.kind == "text"] == kind
        config = FilesConfig(sources=["s.csv"], target="t.csv", label="y", schema=wish)
        data = PairedDataModule(config, seed=0)
        data.setup()
        assert table_of(data.transform).texts == kind


def test_new_rows_are_read_by_what_was_kept(folder):
    data = PairedDataModule(FilesConfig(sources=["s.csv"], target="t.csv", label="y"), seed=0)
    data.setup()
    assert matrix_width(data.spec) <= 1000
    schema = Schema.from_state(data.schema.state_dict())
    new = shop(5, 2).assign(article=["A1", "never seen", "", "A1", "other still"])
    new.to_csv("n.csv", index=False)
    read = read_new_rows("n.csv", data.outcome.names, NewRows(schema, table_of(data.transform)), drop=())
    assert read.inputs["article"].tolist() == ["A1", OTHER, None, "A1", OTHER]
    assert not any("article" in line and "were not in the training rows" in line for line in read.remarks)
