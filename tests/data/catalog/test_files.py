import numpy as np
import pandas as pd
import pytest

from tl_research.config import DataConfig
from tl_research.data.catalog.files import FilesConfig, load, task_of_files
from tl_research.data.transforms.make import make_transform
from tl_research.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(n=40, seed=0, **more):
    random = np.random.default_rng(seed)
    columns = {
        "price": random.normal(size=n).round(3),
        "colour": random.choice(["red", "blue"], n),
        "converted": np.tile([0, 1], n // 2),
    }
    return pd.DataFrame(columns | more)


def config(sources=("old.csv",), target="new.parquet", **more):
    return FilesConfig(**{"sources": list(sources), "target": target, "label": "converted", **more})


def both(settings):
    return load(settings, [*settings.sources, settings.target])


def test_one_file_a_domain_of_two_formats(folder):
    rows().to_csv("old.csv", index=False)
    rows(seed=1).to_parquet("new.parquet")
    domains = both(config())
    assert list(domains) == ["old.csv", "new.parquet"]
    for domain, seed in zip(domains.values(), (0, 1), strict=True):
        assert domain.classes == ("0", "1")
        np.testing.assert_array_equal(domain.label, rows(seed=seed)["converted"])
        np.testing.assert_allclose(domain.inputs["price"], rows(seed=seed)["price"])
        assert list(domain.inputs) == ["price", "colour"]
    spec = make_transform([domain.inputs for domain in domains.values()], "standard").spec
    assert (spec.numeric, spec.cardinalities) == (1, (3,))


def test_one_file_with_a_domain_column(folder):
    pd.concat([rows(year=2015), rows(seed=1, year=2016), rows(seed=2, year=2017)]).to_csv("all.csv", index=False)
    settings = config(["2015", "2016"], "2017", path="all.csv", domain_column="year")
    domains = both(settings)
    assert [len(domain) for domain in domains.values()] == [40, 40, 40]
    np.testing.assert_allclose(domains["2017"].inputs["price"], rows(seed=2)["price"])
    assert "year" not in domains["2017"].inputs
    assert domains["2017"].info["rows"] == 40
    with pytest.raises(
        ConfigError, match=r"data\.target: all\.csv has no '2018' in its column 'year'.*2015, 2016, 2017"
    ):
        both(config(["2015"], "2018", path="all.csv", domain_column="year"))
    with pytest.raises(DataError, match=r"no column 'yaer' \(data\.domain_column\); did you mean 'year'"):
        both(config(["2015"], "2017", path="all.csv", domain_column="yaer"))


def test_a_row_without_a_domain_is_named(folder):
    rows(market=["a"] * 20 + [None] + ["b"] * 19).to_csv("all.csv", index=False)
    with pytest.raises(DataError, match=r"all\.csv, row 21, column 'market': no domain"):
        both(config(["a"], "b", path="all.csv", domain_column="market"))


def test_matrix_files(folder):
    for name, seed in (("old.npz", 0), ("new.npz", 1)):
        np.savez(name, x=np.random.default_rng(seed).normal(size=(10, 3)), y=np.tile([0, 1], 5))
    domains = both(FilesConfig(sources=["old.npz"], target="new.npz"))
    assert domains["new.npz"].inputs.shape == (10, 3)
    assert domains["new.npz"].classes == ("0", "1")
    np.savez("wide.npz", x=np.zeros((4, 5)), y=[0, 1, 0, 1])
    with pytest.raises(DataError, match=r"old\.npz has 3 features and wide\.npz has 5"):
        both(FilesConfig(sources=["old.npz"], target="wide.npz"))
    rows().to_csv("old.csv", index=False)
    np.savez("named.npz", x=np.zeros((4, 5)), converted=[0, 1, 0, 1])
    with pytest.raises(DataError, match=r"old\.csv is a table and named\.npz is a feature matrix"):
        both(config(["old.csv"], "named.npz"))


def test_drop_and_categorical(folder):
    for name in ("old.csv", "new.csv"):
        rows(day=["2024-01-01", "2024-01-02"] * 20, size=[38, "M"] * 20).to_csv(name, index=False)
    assert "day (weekday cos)" in both(config(target="new.csv", categorical=["size"]))["new.csv"].inputs
    with pytest.raises(DataError, match=r"row 2, column 'size': 'M' is text"):
        both(config(target="new.csv", drop=["day"]))
    domains = both(config(target="new.csv", drop=["day"], categorical=["size"]))
    assert set(domains["old.csv"].inputs["size"]) == {"38", "M"}
    assert domains["old.csv"].info["columns_dropped"] == ["day"]
    with pytest.raises(DataError, match=r"no column 'dya' \(data\.drop\); did you mean 'day'"):
        both(config(target="new.csv", drop=["dya"], categorical=["size"]))


def test_files_whose_columns_differ(folder):
    rows().to_csv("old.csv", index=False)
    rows().rename(columns={"colour": "color"}).to_parquet("new.parquet")
    with pytest.raises(DataError, match=r"new\.parquet lacks the columns 'colour'.*did you mean 'color'"):
        both(config())
    rows(Color="red").to_parquet("new.parquet")
    rows().drop(columns="colour").assign(color="red").to_csv("old.csv", index=False)
    with pytest.raises(DataError, match=r"lacks the columns"):
        both(config())
    rows().to_csv("old.csv", index=False)
    rows().rename(columns=lambda name: name if name == "converted" else f"new {name}").to_parquet("new.parquet")
    with pytest.raises(DataError, match="they share no column"):
        both(config())


def test_a_column_that_one_file_alone_has_is_left_out_by_name(folder):
    rows(loyalty=2).to_csv("old.csv", index=False)
    rows(extra=1).to_parquet("new.parquet")
    domains = both(config())
    assert set(domains["old.csv"].inputs) == set(domains["new.parquet"].inputs) == set(rows()) - {"converted"}
    remarks = domains["old.csv"].remarks + domains["new.parquet"].remarks
    assert "column 'extra' is left out: only new.parquet has it" in remarks
    assert "column 'loyalty' is left out: only old.csv has it" in remarks
    said = domains["new.parquet"].schema.said[-1]
    assert said == "left out: loyalty (only old.csv has it), extra (only new.parquet has it)"
    both(config(drop=["extra"]))
    assert both(config(schema={"extra": "drop"}))["old.csv"].inputs.shape == domains["old.csv"].inputs.shape
    with pytest.raises(ConfigError, match=r"data\.schema\.extra: old\.csv has no such column"):
        both(config(schema={"extra": "number"}))


def test_a_column_of_numbers_here_and_text_there(folder):
    rows(zone=1).to_csv("old.csv", index=False)
    rows(zone=[None] + ["A7"] * 39).to_parquet("new.parquet")
    with pytest.raises(
        DataError, match=r"new\.parquet, row 2, column 'zone': 'A7' is text, but old\.csv holds numbers"
    ):
        both(config())
    assert set(both(config(categorical=["zone"]))["old.csv"].inputs["zone"]) == {"1"}
    rows(zone=[None] * 40).to_parquet("new.parquet")
    assert both(config())["new.parquet"].inputs["zone"].isna().all(), "a column without values fits either kind"


def test_classes_must_agree(folder):
    rows().to_csv("old.csv", index=False)
    rows(converted=np.tile([0, 1, 2, 1], 10)).to_parquet("new.parquet")
    with pytest.raises(DataError, match=r"new\.parquet has the extra classes '2', which old\.csv lacks"):
        both(config())
    rows(converted=0).to_csv("old.csv", index=False)
    rows().to_parquet("new.parquet")
    with pytest.raises(DataError, match=r"old\.csv: every label is '0'"):
        both(config())


def test_the_same_outcome_written_in_two_ways_agrees(folder):
    rows(converted=np.tile([0.0, 1.0], 20)).to_csv("old.csv", index=False)
    rows().to_parquet("new.parquet")
    assert both(config())["old.csv"].classes == ("0", "1")


def test_labels_missing_or_continuous(folder):
    rows().to_parquet("new.parquet")
    rows(converted=[None] + [0, 1] * 19 + [1]).to_csv("old.csv", index=False)
    with pytest.raises(DataError, match=r"old\.csv, row 1, column 'converted': no label"):
        both(config())
    rows(converted=np.arange(40) / 3).to_csv("old.csv", index=False)
    rows(converted=np.arange(40) / 7).to_parquet("new.parquet")
    domains = both(config())
    assert all(domain.classes == () for domain in domains.values())
    np.testing.assert_allclose(domains["old.csv"].label, np.arange(40) / 3, rtol=1e-12)
    assert task_of_files(config()) == "regression"
    assert both(config(task="regression"))["new.parquet"].label_kind.name == "regression"
    with pytest.raises(DataError, match=r"40 distinct values in 40 rows .* data\.task=regression"):
        both(config(task="class"))
    # a number where there is none, and a missing one of the target, which hides its row
    rows(converted=[None, *np.arange(39) / 7]).to_parquet("new.parquet")
    assert np.isnan(both(config())["new.parquet"].label).tolist() == [True] + 39 * [False]
    rows(converted=["cheap", *map(str, np.arange(39) / 3)]).to_csv("old.csv", index=False)
    with pytest.raises(DataError, match=r"old\.csv, row 1, column 'converted': the label 'cheap' is not a number"):
        both(config(task="regression"))


def test_few_numbers_are_classes_unless_said_otherwise(folder):
    for name in ("old.csv", "new.csv"):
        rows(converted=np.tile([0.5, 1.0, 2.5, 3.0], 10)).to_csv(name, index=False)
    assert both(config(target="new.csv"))["old.csv"].classes == ("0.5", "1", "2.5", "3")
    assert task_of_files(config(target="new.csv")) == "class"
    domain = both(config(target="new.csv", task="regression"))["old.csv"]
    assert domain.label[:4].tolist() == [0.5, 1.0, 2.5, 3.0]


def test_many_whole_numbers_are_asked_about(folder):
    for name in ("old.csv", "new.csv"):
        rows(converted=np.arange(40) % 25).to_csv(name, index=False)
    with pytest.raises(DataError, match=r"25 distinct whole numbers .* data\.task=regression or data\.task=class"):
        both(config(target="new.csv"))
    with pytest.raises(DataError, match="25 distinct values in 40 rows"):
        both(config(target="new.csv", task="class"))
    assert both(config(target="new.csv", task="regression"))["old.csv"].label_kind.name == "regression"
    with pytest.raises(ConfigError, match=r"data\.task: got 'number'"):
        config(task="number")


def test_files_that_are_absent_or_twice_the_same(folder):
    rows().to_csv("old.csv", index=False)
    with pytest.raises(DataError, match=r"gone\.csv: there is no such file"):
        both(config(target="gone.csv"))
    with pytest.raises(ConfigError, match="the same file"):
        both(config(target="./old.csv"))


@pytest.mark.parametrize("name", ["a,b.csv", "a, b.csv"])
def test_a_name_with_a_comma_that_was_read_as_two_is_said(folder, name):
    rows().to_csv(name, index=False)
    rows(seed=1).to_csv("new.csv", index=False)
    with pytest.raises(DataError, match=rf"a: there is no such file; '{name}' is there: .* data\.sources=\['{name}'\]"):
        both(config(sources=["a", "b.csv"]))


def test_keys_that_go_together():
    with pytest.raises(ConfigError, match=r"data\.domain_column"):
        config(path="all.csv")
    with pytest.raises(ConfigError, match=r"data\.path"):
        config(domain_column="year")
    with pytest.raises(ConfigError, match=r"data\.label: missing; which column of old\.csv"):
        config(label=None)
    assert issubclass(FilesConfig, DataConfig)


def test_the_content_follows_the_bytes_of_the_files(folder):
    rows().to_csv("old.csv", index=False)
    assert config().content() == ""
    rows(seed=1).to_parquet("new.parquet")
    first = config().content()
    assert len(first) == 64
    assert config().content() == first
    (folder / "copy.csv").write_bytes((folder / "old.csv").read_bytes())
    assert config(["copy.csv"]).content() == first, "names and times do not matter, bytes do"
    with open("old.csv", "a") as file:
        file.write("1.0,red,1\n")
    assert config().content() != first
    assert config(["new.parquet"], "old.csv").content() != config().content()


def test_a_column_that_no_source_has_a_value_in_is_left_out(folder):
    rows(size=np.nan).to_csv("old.csv", index=False)
    rows(size=3.0).to_csv("new.csv", index=False)
    domains = both(config(target="new.csv"))
    assert all("size" not in domain.inputs for domain in domains.values())
    assert "column 'size' is left out: no value in old.csv" in domains["new.csv"].remarks
    assert domains["new.csv"].schema.columns["size"].kind == "drop"
    domains = both(config(["new.csv"], "old.csv"))
    assert "size" in domains["old.csv"].inputs
    said = [line for domain in domains.values() for line in domain.remarks if "'size'" in line]
    assert len(said) == 1  # by the audit
    assert "column 'size' has no value in old.csv but has some elsewhere" in said[0]


def test_odd_classes_are_said(folder):
    labels = ["Yes", "yes", "no", "no"] * 10
    for name in ("old.csv", "new.csv"):
        rows(converted=["maybe", *labels[1:]]).to_csv(name, index=False)
    remarks = {remark for domain in both(config(target="new.csv")).values() for remark in domain.remarks}
    (said,) = [remark for remark in remarks if "'Yes'" in remark]
    assert "4 classes, and would have 3 if case, blanks and accents did not count: 'Yes' and 'yes'" in said, "said once"
    (said,) = [remark for remark in remarks if "'maybe'" in remark]
    assert "class 'maybe' has 1 of 40 labelled rows of old.csv, 1 of 40" in said, "said once"
    rows(converted=[True, False] * 20).to_csv("old.csv", index=False)
    rows().to_csv("new.csv", index=False)
    with pytest.raises(DataError, match=r"new\.csv has '0', '1', old\.csv has 'false', 'true'"):
        both(config(target="new.csv"))
    rows(converted=["None", "Basic"] * 20).to_csv("new.csv", index=False)
    rows(converted=["Basic", "Other"] * 20).to_csv("old.csv", index=False)
    with pytest.raises(DataError, match=r"where 'None' means no label, say data\.missing=\[None\]"):
        both(config(target="new.csv"))


def rated(old, new):
    for name, labels in (("old.csv", old), ("new.csv", new)):
        random = np.random.default_rng(len(labels))
        pd.DataFrame({"x": random.normal(size=len(labels)), "converted": labels}).to_csv(name, index=False)
    return both(config(target="new.csv"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ([3, 4, 5, 6, 7, 8], [3, 4, 5, 6, 7, 8, 9], "7 classes over all files, though old.csv has no '9'"),
        ([1, 2, 3, 4, 5], [1, 3, 4, 5], "though new.csv has no '2'"),
        ([1, 2, 4, 5], [1, 3, 4, 5], "though old.csv has no '3'; new.csv has no '2'"),
        (
            ["good", "bad", "fair", "fine"],
            ["good", "bad", "fair"],
            "4 classes over all files, though new.csv has no 'fine'",
        ),
    ],
)
def test_a_rating_that_one_file_lacks_is_a_class_all_the_same(folder, old, new, said):
    domains = rated(old * 8, new * 8)
    assert domains["old.csv"].classes == domains["new.csv"].classes == tuple(sorted(map(str, {*old, *new})))
    assert [said in line for line in domains["new.csv"].remarks].count(True) == 1
    names = np.array(domains["new.csv"].classes)
    assert names[domains["new.csv"].label].tolist() == list(map(str, new * 8))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([0, 1], [0, 1, 2]),  # flags and something else
        (["no", "yes"], ["no", "yes", "maybe"]),
        (["no", "yes", "maybe"], ["No", "Yes", "Maybe"]),
        (["a", "b", "c"], ["c", "d", "e"]),
        (["low", "mid", "high"], ["low", "mid", "high", "none"]),  # "none" may mean no label
        (["low", "mid-day", "high"], ["low", "mid-day", "high", "mid day"]),
        ([1, 2, 3], [4, 5, 6]),
    ],
)
def test_a_class_of_one_file_that_may_be_a_mistake_is_refused(folder, old, new):
    with pytest.raises(DataError, match="has the extra classes"):
        rated(old * 8, new * 8)


def test_a_misspelled_class_is_refused_and_a_frequent_one_is_not(folder):
    with pytest.raises(DataError, match=r"has the extra classes 'dresss', which old\.csv lacks"):
        rated(["dress", "shoes", "hats"] * 8, ["dress", "shoes", "hats"] * 8 + ["dresss"])
    assert len(rated(["dress", "shoes", "hats"] * 8, ["dress", "shoes", "hats", "dresses"] * 8)["old.csv"].classes) == 4
