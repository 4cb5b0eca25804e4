"""Bad input: every case over every reader, for classes and for numbers; one error that names the place, or a count."""

import time

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from omegaconf import OmegaConf

from tl_research.config import compose
from tl_research.data.catalog.files import load
from tl_research.data.paired import PairedDataModule
from tl_research.data.readers.domain_file import read_rows
from tl_research.data.readers.duplicates import duplicate_rows, row_hashes
from tl_research.errors import DataError
from tl_research.runs.experiment import run

TABLES = ("csv", "parquet")
READERS = (*TABLES, "npz")
KINDS = ("class", "regression")
ROWS = 60
AT = 40  # the bad row, counting from 0
NAN, INF = np.nan, np.inf


def rows(kind, seed=0, n=ROWS):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"price": rng.normal(10, 2, n).round(3), "stock": rng.normal(size=n).round(3)})
    frame["y"] = np.arange(n) % 2 if kind == "class" else (frame["price"] / 3 + 0.01).round(4)
    return frame


def write(frame, path, reader):
    if reader == "csv":
        # As people write it: nan as an empty cell, infinity as inf.
        frame.to_csv(path, index=False)
    elif reader == "parquet":
        frame.to_parquet(path)
    else:
        arrays = {"x": frame.drop(columns="y").to_numpy(np.float64)}
        label = frame["y"].to_numpy()
        np.savez(path, y=label.astype(str) if label.dtype == object else label, **arrays)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Write an old and a new file and return them with the configuration of their data."""
    monkeypatch.chdir(tmp_path)

    def make(reader, old, new, **data):
        for name, frame in (("old", old), ("new", new)):
            write(frame, f"{name}.{reader}", reader)
        tree = {"name": "files", "sources": [f"old.{reader}"], "target": f"new.{reader}", **data}
        tree |= {} if reader == "npz" else {"label": "y"}
        return compose({"data": tree, "wandb": {"mode": "disabled"}})

    return make


def set_up(config):
    data = PairedDataModule(OmegaConf.to_object(config.data), seed=0)
    data.setup()
    return data


def put(frame, column, value, at=AT):
    frame = frame.copy()
    frame[column] = frame[column].astype(type(value) if isinstance(value, str) else np.float64)
    frame.loc[at, column] = value
    return frame


def place(reader, side, column="price"):
    """How a message names the bad cell."""
    number, position = (AT, {"price": 0, "stock": 1}.get(column)) if reader == "npz" else (AT + 1, None)
    return rf"{side}\.{reader}, row {number}, column '?{column if position is None else position}'?"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("side", ["old", "new"])
@pytest.mark.parametrize("value", [INF, -INF, 1e39])
def test_an_infinite_or_too_large_feature_is_refused(files, reader, kind, side, value):
    frames = {"old": rows(kind), "new": rows(kind, 1)}
    frames[side] = put(frames[side], "price", value)
    config = files(reader, **frames)
    with pytest.raises(DataError, match=place(reader, side) + r".*(infinite|not a finite|too large)"):
        set_up(config)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_a_missing_feature_is_a_counted_missing_value_in_a_table_and_refused_in_a_matrix(files, reader, kind):
    config = files(reader, put(rows(kind), "price", NAN), rows(kind, 1))
    if reader == "npz":
        with pytest.raises(DataError, match=place(reader, "old") + ".*nan is not a finite number"):
            set_up(config)
        return
    data = set_up(config)
    assert data.facts["domains"][f"old.{reader}"]["missing_values"] == 1
    assert data.facts["domains"][f"new.{reader}"]["missing_values"] == 0
    assert all(values.isfinite().all() for values in (side.inputs["numeric"] for side in data.sides.values()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_a_missing_label_is_refused_in_the_source_and_counted_in_the_target(files, reader, kind):
    config = files(reader, put(rows(kind), "y", NAN), rows(kind, 1))
    with pytest.raises(DataError, match=place(reader, "old", "y") + rf".*no label \(1 of {ROWS} rows"):
        set_up(config)
    data = set_up(files(reader, rows(kind), put(put(rows(kind, 1), "y", NAN), "y", NAN, at=3)))
    assert data.facts["domains"][f"new.{reader}"]["rows_without_label"] == 2
    assert "rows_without_label" not in data.facts["domains"][f"old.{reader}"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("side", ["old", "new"])
@pytest.mark.parametrize("value", [INF, 1e300])
def test_an_infinite_label_is_refused_and_is_no_class(files, reader, kind, side, value):
    frames = {"old": rows(kind), "new": rows(kind, 1)}
    frames[side] = put(frames[side], "y", value)
    config = files(reader, **frames)
    with pytest.raises(DataError, match=place(reader, side, "y") + ".*not a finite number"):
        set_up(config)


@pytest.mark.parametrize("reader", READERS)
def test_a_domain_of_one_class_is_refused(files, reader):
    for side in ("old", "new"):
        frames = {"old": rows("class"), "new": rows("class", 1)}
        frames[side]["y"] = 1
        with pytest.raises(DataError, match=rf"{side}\.{reader}: every label is '1'; wants at least two classes"):
            set_up(files(reader, **frames))


@pytest.mark.parametrize("reader", READERS)
def test_a_constant_number_to_predict_is_refused(files, reader):
    frames = {"old": rows("regression").assign(y=2.5), "new": rows("regression", 1)}
    with pytest.raises(DataError, match=r"every label that training may see is 2\.5"):
        set_up(files(reader, **frames, task="regression"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_an_empty_domain_is_refused(files, reader, kind):
    for side in ("old", "new"):
        frames = {"old": rows(kind), "new": rows(kind, 1)}
        frames[side] = frames[side].iloc[:0]
        with pytest.raises(DataError, match=rf"{side}\.{reader}: .*(no rows|nothing in them)"):
            set_up(files(reader, **frames))
    unlabelled = rows(kind, 1).assign(y=NAN)
    with pytest.raises(DataError, match=rf"new\.{reader}: (there is no label|no row has a label)"):
        set_up(files(reader, rows(kind), unlabelled, task=kind))


@pytest.mark.parametrize("reader", READERS)
def test_a_label_that_one_domain_alone_has_is_refused_at_its_first_row(files, reader):
    config = files(reader, rows("class"), put(rows("class", 1), "y", 7.0))
    number = AT if reader == "npz" else AT + 1
    wanted = rf"new\.{reader} has the extra classes '7', which old\.{reader} lacks.*row {number}, column 'y'"
    with pytest.raises(DataError, match=wanted):
        set_up(config)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_rows_that_are_the_same_are_kept_and_counted(files, reader, kind):
    old, new = rows(kind), rows(kind, 1)
    old = pd.concat([old, old.iloc[[3, 3, 5]], new.iloc[:4]], ignore_index=True)
    data = set_up(files(reader, old, new))
    facts = data.facts["domains"]
    assert facts[f"old.{reader}"]["rows"] == ROWS + 7
    assert facts[f"old.{reader}"]["duplicate_rows"] == 3
    assert facts[f"old.{reader}"]["rows_also_in_target"] == 4
    assert not {"duplicate_rows", "rows_also_in_target"} & set(facts[f"new.{reader}"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", ["csv", "npz"])
def test_a_column_that_turns_to_text_half_way_is_refused(files, reader, kind):
    frame = rows(kind)
    frame["price"] = frame["price"].astype(str)
    frame.loc[AT:, "price"] = "cheap"
    config = files("csv", frame, rows(kind, 1))
    if reader == "npz":
        np.savez("old.npz", x=frame[["price", "stock"]].to_numpy(str), y=frame["y"].to_numpy())
        with pytest.raises(DataError, match=r"old\.npz: features of type <U\d+ \(text\), wants numbers"):
            read_rows("old.npz", None)
        np.savez("old.npz", x=frame[["price", "stock"]].to_numpy(object), y=frame["y"].to_numpy())
        with pytest.raises(DataError, match=r"old\.npz: holds Python objects"):
            read_rows("old.npz", None)
        return
    with pytest.raises(DataError, match=place(reader, "old") + ".*'cheap' is text, but row 1 holds the number"):
        set_up(config)


def test_a_column_of_other_types_in_two_files_is_refused(files):
    for reader in TABLES:
        new = rows("class", 1).assign(price="cheap")
        with pytest.raises(DataError, match=rf"new\.{reader}, row 1, column 'price': 'cheap' is text, but old"):
            set_up(files(reader, rows("class"), new))


@pytest.mark.parametrize("reader", ["csv", "npz"])
def test_a_label_that_turns_to_text_half_way_is_refused(files, reader):
    old = put(rows("regression"), "y", "cheap")
    for task in ("auto", "regression"):
        config = files(reader, old, rows("regression", 1), task=task)
        with pytest.raises(DataError, match=place(reader, "old", "y") + ".*the label 'cheap' is (text|not a number)"):
            set_up(config)


def test_rows_of_a_file_with_a_domain_column_keep_their_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    both = pd.concat([rows("class").assign(year=2016), rows("class", 1).assign(year=2017)], ignore_index=True)
    both = both.sample(frac=1, random_state=0).reset_index(drop=True)
    at = int(np.flatnonzero(both["year"] == 2016)[20])

    def config(frame, **data):
        frame.to_csv("all.csv", index=False)
        data = {"name": "files", "path": "all.csv", "domain_column": "year", "label": "y", **data}
        return compose({"data": data | {"sources": ["2016"], "target": "2017"}})

    with pytest.raises(DataError, match=rf"all\.csv \(year=2016\), row {at + 1}, column 'y': no label \(1 of {ROWS}"):
        set_up(config(put(both, "y", NAN, at)))
    with pytest.raises(DataError, match=rf"row {at + 1}, column 'y': the label 'x' is not a number"):
        set_up(config(put(both, "y", "x", at), task="regression"))
    with pytest.raises(DataError, match=rf"all\.csv \(year=2016\), row {at + 1}, column 'stock': -5 is negative"):
        set_up(config(put(both.assign(stock=1.0), "stock", -5.0, at), scale="log1p"))
    counted = put(both, "price", NAN, at)
    domains = load(OmegaConf.to_object(config(counted).data), ["2016", "2017"])
    assert [domains[year].info["missing_values"] for year in ("2016", "2017")] == [1, 0]


@pytest.mark.parametrize("reader", READERS)
def test_a_negative_number_under_a_logarithm_names_its_place_in_the_file(files, reader):
    old = put(rows("class").assign(stock=1.0), "price", -4.0)
    config = files(reader, old, rows("class", 1).assign(stock=1.0), scale="log1p")
    with pytest.raises(DataError, match=place(reader, "old") + ": -4 is negative, and data.scale=log1p"):
        set_up(config)


def test_the_counts_are_in_the_record(files):
    old = pd.concat([rows("class"), rows("class").iloc[:2]], ignore_index=True)
    config = files("csv", put(old, "price", NAN), put(rows("class", 1), "y", NAN))
    config = compose(OmegaConf.to_container(config) | {"trainer": {"max_epochs": 1, "accelerator": "cpu"}})
    facts = run(config).data["domains"]
    assert facts["old.csv"] == {"rows": ROWS + 2, "missing_values": 1, "duplicate_rows": 2}
    assert facts["new.csv"] == {"rows": ROWS, "missing_values": 0, "rows_without_label": 1}


def test_hashes_of_rows_agree_between_dense_and_sparse_and_see_every_difference():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, size=(500, 4)).astype(float)
    label = rng.integers(0, 2, size=500)
    wanted = len(x) - len({(*row, code) for row, code in zip(x.tolist(), label.tolist(), strict=True)})
    assert wanted > 100
    frame = pd.DataFrame(x, columns=list("abcd"))
    texts = frame.astype(int).astype(str).astype(object).mask(frame == 0, None)
    for inputs in (x, x.astype(np.float32), sp.csr_matrix(x), frame, texts, frame.mask(frame == 0)):
        assert duplicate_rows(row_hashes(inputs, label)) == wanted
    unlabelled = np.where(label == 1, np.nan, 0.0)
    assert duplicate_rows(row_hashes(x, unlabelled)) == wanted


@pytest.mark.slow
@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("price", "cheap", "'cheap' is text"),
        ("price", "inf", "infinite"),
        ("y", "", "no label"),
        ("y", "inf", "not a finite number"),
    ],
)
def test_one_bad_cell_among_200_000_rows_is_found_by_its_row_in_seconds(tmp_path, column, value, said):
    n, at = 200_000, 150_000
    frame = rows("regression", n=n)
    for extra in range(4):
        frame[f"city{extra}"] = np.array(["rome", "oslo", "lima"])[np.arange(n) % 3]
    text = frame.to_csv(index=False).splitlines()
    cells = text[at + 1].split(",")
    cells[text[0].split(",").index(column)] = value
    text[at + 1] = ",".join(cells)
    path = tmp_path / "big.csv"
    path.write_text("\n".join(text) + "\n")
    begun = time.process_time()
    with pytest.raises(DataError, match=rf"big\.csv, row 150001, column '{column}'.*{said}"):
        read_rows(path, "y")
    assert time.process_time() - begun < 20
