"""What a cell means: the table of docs/input.md is run, and no reading depends on which other rows are read."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tl_research.data.readers.cells import spell
from tl_research.data.readers.date_parts import WAVES, parts_that_vary, turns
from tl_research.data.readers.domain_file import read_raw, typed_rows
from tl_research.data.readers.schema import RawRows, Schema, Wishes, decide_schema
from tl_research.errors import ConfigError, DataError

PAGE = Path(__file__).parents[2] / "docs" / "input.md"
CELL = re.compile(r"`([^`]*)`|\((empty)\)|\b(missing)\b")


def page_rows():
    table = PAGE.read_text().split("A test runs this table.")[1].split("\n\n")[1].splitlines()[2:]
    return [re.split(r"\s*\|\s*", line.strip()[1:-1].strip(" ")) for line in table]


def cells_of(text):
    return [None if empty or missing else value for value, empty, missing in CELL.findall(text)]


def read(column, wish=None, *, typed=False, missing=(), name="x"):
    raw = RawRows(pd.DataFrame({name: pd.Series(column, dtype=None if typed else object)}), None, "a.csv", typed=typed)
    schema = decide_schema([raw], Wishes.of({name: wish} if wish else None, (), missing))
    return schema.read(raw)[name], schema


def check(cells, expected, wish=None):
    if expected.startswith("refused"):
        with pytest.raises(DataError, match=re.escape(expected.removeprefix("refused: "))):
            read(cells, wish)
        return
    column, schema = read(cells, wish)
    kind, wanted = expected.split(" ", 1)[0], cells_of(expected)
    assert column.dtype == (object if kind == "category" else np.float64)
    if kind == "date":
        parts = re.search(r"\((.*)\)", expected)[1].split(", ")
        assert list(schema.origin_of_outputs()) == ["x", *(f"x ({part} {wave})" for part in parts for wave in WAVES)]
    if kind != "category":
        np.testing.assert_allclose(column, [np.nan if value is None else float(value) for value in wanted], rtol=1e-12)
    else:
        assert column.tolist() == wanted


@pytest.mark.parametrize("row", page_rows(), ids=lambda row: row[0][:40])
def test_the_page_says_what_cells_are_read_as(row):
    cells, expected, wish, then = (*row, "", "")[:4]
    cells = ["" if value is None else value for value in cells_of(cells)]
    check(cells, expected)
    if wish := wish.strip("` "):
        check(cells, then, yaml.safe_load(wish))


def test_the_page_has_a_table():
    assert len(page_rows()) > 30


KINDS = {
    "plain": lambda rng, n: rng.choice(["1", "2.5", "-3", "1e3", "", "NA", "null", "7.0"], n),
    "money": lambda rng, n: rng.choice(["$1,234.00", "$5", "-$7.50", "", "-", "n/a"], n),
    "comma": lambda rng, n: rng.choice(["1,5", "2,25", "1.234,5", "7", ""], n),
    "percent": lambda rng, n: rng.choice(["12%", "5 %", "0%", "None"], n),
    "blanks": lambda rng, n: rng.choice(["1 234", "12 345", "7", "1\u202f000"], n),
    "codes": lambda rng, n: rng.choice(["02494", "12010", "00501"], n),
    "long": lambda rng, n: rng.choice(["9007199254740993", "9007199254740992", "5"], n),
    "flag": lambda rng, n: rng.choice(["True", "false", "TRUE", "Unknown", ""], n),
    "text": lambda rng, n: rng.choice(["EU", "NA", "None", " EU ", "cafe\u0301", "caf\u00e9", ""], n),
    "sizes": lambda rng, n: rng.choice(["2XL", "3XL", "S", "M"], n),
    "dates": lambda rng, n: rng.choice(["31/01/2020", "01/02/2020", "", "NA"], n),
    "ids": lambda rng, n: pd.array(rng.choice([2**53, 2**53 + 1, 3], n), dtype="Int64"),
    "floats": lambda rng, n: np.where(rng.random(n) < 0.2, np.nan, rng.integers(0, 5, n)),
    "bools": lambda rng, n: pd.array(rng.choice([True, False], n), dtype="boolean"),
}
WISHES = {"dates": {"kind": "date", "parts": "auto"}, "plain": "category"}


@pytest.mark.parametrize("seed", range(500))
def test_a_subset_of_rows_is_read_as_the_whole_is(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 40))
    chosen = rng.permutation(list(KINDS))[: int(rng.integers(1, 6))]
    frame = pd.DataFrame({name: KINDS[name](rng, n) for name in chosen})
    label = pd.Series(rng.choice(["True", "FALSE", "NA", "1", "1.0", ""], n), name="y", dtype=object)
    raw = RawRows(frame, label, "all.csv", "y", typed=bool(rng.random() < 0.3))
    wishes = Wishes.of({name: kind for name, kind in WISHES.items() if name in chosen and rng.random() < 0.9})
    try:
        schema = decide_schema([raw], wishes)
    except DataError:
        return  # what cannot be read as a whole is refused; most draws can
    schema = Schema.from_state(schema.state_dict())
    whole = typed_rows(raw, schema)
    rows = np.flatnonzero(rng.random(n) < rng.random())
    if not len(rows):
        rows = np.array([int(rng.integers(n))])
    part = RawRows(frame.iloc[rows], label.iloc[rows], "part.csv", "y", typed=raw.typed)
    found = typed_rows(part, schema)
    pd.testing.assert_frame_equal(found.inputs, whole.inputs.iloc[rows].reset_index(drop=True))
    assert found.label.tolist() == whole.label[rows].tolist()


def test_most_draws_of_the_property_can_be_read():
    read_columns = 0
    for name, draw in KINDS.items():
        column = draw(np.random.default_rng(0), 30)
        raw = RawRows(pd.DataFrame({name: column}), None, "a.csv")
        wishes = Wishes.of({name: WISHES[name]} if name in WISHES and name != "dates" else None)
        read_columns += len(decide_schema([raw], wishes).columns)
    assert read_columns == len(KINDS)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (("True", True, "TRUE", np.bool_(True)), "true"),
        ((1, 1.0, "1", "1.0", np.int8(1)), "1"),
        ((-0.0, "-0", "-0.0", 0, "0"), "0"),
        ((0.1, np.float32(0.1), "0.1"), "0.1"),
        ((2**53 + 1, str(2**53 + 1)), "9007199254740993"),
        (("cafe\u0301", " caf\u00e9 "), "caf\u00e9"),
        (("NA",), "NA"),
    ],
)
def test_the_spelling_of_a_value_looks_at_that_value_alone(values, text):
    assert {spell(value) for value in values} == {text}


def both(tmp_path, one, two, *, wishes=None, names=("old.csv", "new.csv")):
    raws = []
    for name, column in zip(names, (one, two), strict=True):
        path = tmp_path / name
        if name.endswith("parquet"):
            pq.write_table(pa.table({"x": column, "y": ["a", "b"] * (len(column) // 2)}), path)
        else:
            pd.DataFrame({"x": column, "y": ["a", "b"] * (len(column) // 2)}).to_csv(path, index=False)
        raws.append(read_raw(path, "y"))
    schema = decide_schema(raws, wishes or Wishes())
    return [schema.read(raw)["x"].tolist() for raw in raws], schema


def test_a_column_is_decided_over_all_files(tmp_path):
    # 1,500 alone could be either; the other file proves the comma to be one of thousands.
    (one, two), schema = both(tmp_path, ["1,500", "2,500"], ["1,500.50", "7"])
    assert (one, two) == ([1500, 2500], [1500.5, 7])
    assert schema.columns["x"].thousands == ","
    (one, _), _ = both(tmp_path, ["True", "False"], ["Unknown", "False"])
    assert one == ["true", "false"]
    (one, two), schema = both(tmp_path, ["NA", "NA"], ["NA", "EU"])
    assert (one, two) == (["NA", "NA"], ["NA", "EU"])
    assert len(schema.remarks) == 1
    assert "new.csv): 3 cells 'NA' are read as values; data.missing=[NA] reads them as no value" in schema.remarks[0]
    with pytest.raises(
        DataError, match=r"new\.csv, row 1.*'31/01/2020' has the day first.*old\.csv, row 2.*month first"
    ):
        both(tmp_path, ["01/02/2020", "01/31/2020"], ["31/01/2020", "01/02/2020"], wishes=Wishes.of({"x": "date"}))


def test_a_code_that_lost_its_zero_in_one_file_is_refused(tmp_path):
    names = ("old.csv", "new.parquet")
    for wishes in (Wishes(), Wishes.of(None, ["x"])):
        for pair in (("old.csv", "new.csv"), names):
            with pytest.raises(DataError, match=r"old\.csv, row 1.*02494 has a leading zero.*new\.\w+, row 2.*2494"):
                both(tmp_path, ["02494", "12010"], [12010, 2494], wishes=wishes, names=pair)
    (one, two), _ = both(tmp_path, ["02494", "12010"], [12010, 2494], wishes=Wishes.of({"x": "number"}))
    assert (one, two) == ([2494, 12010], [12010, 2494])


def test_one_cell_that_looks_like_a_code_is_refused():
    numbers = [str(value) for value in range(1, 40)]
    for cell, why in (
        ("007", "begins with a zero"),
        ("99999999999999999", "has more digits than a 64-bit float holds"),
    ):
        with pytest.raises(DataError, match=rf"row 40, column 'x': {cell} {why}.*data\.schema\.x=number"):
            read([*numbers, cell])
    column, _ = read([*numbers, "007"], "number")
    assert column.iloc[-1] == 7


def test_a_typed_column_is_believed(tmp_path):
    names = ("old.parquet", "new.parquet")
    text = pa.array(["1", "2"])
    (one, _), schema = both(tmp_path, text, text, names=names)
    assert one == ["1", "2"]
    assert "look like numbers, but the file says text" in schema.remarks[0]
    (one, _), _ = both(tmp_path, text, text, names=names, wishes=Wishes.of({"x": "number"}))
    assert one == [1, 2]
    ids = pa.array([2**53, 2**53 + 1, None, 5], pa.int64())
    (one, _), schema = both(tmp_path, ids, ids, names=names)
    assert one == ["9007199254740992", "9007199254740993", None, "5"]
    assert "codes with more digits than a 64-bit float holds" in schema.remarks[0]
    unsigned = pa.array([2**63, 2**63 + 1, None, 5], pa.uint64())
    (one, _), _ = both(tmp_path, unsigned, unsigned, names=names, wishes=Wishes.of(None, ["x"]))
    assert one == ["9223372036854775808", "9223372036854775809", None, "5"]
    flags = pa.array([True, None, False, None])
    (one, two), _ = both(tmp_path, flags, ["TRUE", "", "x", ""], names=("old.parquet", "new.csv"))
    assert (one, two) == (["true", None, "false", None], ["true", None, "x", None])
    days = pa.array([18292, 18293], pa.date32())
    (one, _), schema = both(tmp_path, days, days, names=names)
    assert one == [18292, 18293]
    assert schema.columns["x"].parts == ("month", "weekday")
    assert "read as dates, as days since 1970-01-01 with month and weekday; data.schema.x=category" in schema.remarks[0]
    (one, _), _ = both(tmp_path, days, days, names=names, wishes=Wishes.of({"x": "date"}))
    assert one == [18292, 18293]
    hours = pa.array([45_000, 61_200], pa.time32("s"))
    (one, _), schema = both(tmp_path, hours, hours, names=names)
    assert one == [12.5, 17]
    assert schema.columns["x"].parts == ("hour",)
    with pytest.raises(DataError, match="one file holds dates there and another clock times"):
        both(tmp_path, days, hours, names=names)
    with pytest.raises(DataError, match=r"new\.parquet, row 1.*'1' is text, but .*old\.parquet holds numbers there"):
        both(tmp_path, pa.array([1, 2]), text, names=names)


def test_the_label_follows_the_same_rules():
    def label(values, task="auto", missing=(), wish=None, typed=False):
        frame = pd.DataFrame({"x": range(len(values))})
        raw = RawRows(frame, pd.Series(values, name="y"), "a.csv", "y", typed=typed)
        schema = decide_schema([raw], Wishes.of({"y": wish} if wish else None, (), missing, task))
        return typed_rows(raw, schema).label.tolist(), schema

    assert label(["Minor", "None", ""])[0] == ["Minor", "None", None]
    assert label(["Minor", "None", ""], missing=["None"])[0] == ["Minor", None, None]
    assert label(["0", "1", "NA"])[0] == ["0", "1", None]
    assert label(["0", "-0.0", "1.0"])[0] == ["0", "0", "1"]
    many = [f"{value},5" for value in range(30)]
    assert label(many)[0][:2] == ["0.5", "1.5"]
    few, schema = label(many[:11])
    assert few[:2] == ["0,5", "1,5"]
    assert "are read as classes; data.task=regression predicts the number" in schema.remarks[0]
    assert label(many[:11], "regression")[0][:2] == ["0.5", "1.5"]
    assert label([f"${value}" for value in range(30)])[0][:2] == ["0", "1"]
    with pytest.raises(DataError, match=r"'1,234' may be 1234 or 1\.234.*data\.schema\.y="):
        label(["1,234", "5,678"], "regression")
    for dates in (["1/2/2020", "31/2/2020", "31/3/2020"], ["31/1/2020", "1/2/2020"]):
        with pytest.raises(DataError, match=r"row 2.*is not a date|column 'y' holds dates.*data\.schema\.y=category"):
            label(dates)
    with pytest.raises(DataError, match="column 'y' holds dates"):
        label(pd.to_datetime(["2020-01-01", "2020-01-02"]), typed=True)
    assert label(["31/1/2020", "1/2/2020"], wish="category")[0] == ["31/1/2020", "1/2/2020"]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"x": "nmber"}, r"data\.schema\.x: got 'nmber'; did you mean 'number'"),
        ({"x": 3}, r"data\.schema\.x: got 3, wants one of"),
        ({"x": {"decimal": ","}}, r"data\.schema\.x: got .*wants one of"),
        ({"x": {"kind": "number", "order": "dmy"}}, r"data\.schema\.x\.order: unknown key of a number"),
        ({"x": {"kind": "number", "decimal": ";"}}, r"data\.schema\.x\.decimal: got ';', wants one of '\.', ','"),
        ({"x": {"kind": "date", "order": "ymd"}}, r"data\.schema\.x\.order: got 'ymd', wants one of"),
        ({"z": "number"}, r"data\.schema\.z: a\.csv has no such column"),
    ],
)
def test_a_wrong_wish_names_its_key(schema, message):
    with pytest.raises(ConfigError, match=message):
        decide_schema([RawRows(pd.DataFrame({"x": ["1", "2"]}), None, "a.csv")], Wishes.of(schema))
    with pytest.raises(ConfigError, match=r"data\.schema\.x: got 'number', but data\.categorical"):
        Wishes.of({"x": "number"}, ["x"])


def test_the_record_is_told_what_is_not_plain():
    _, schema = read(["$1,234.00", "$5"])
    assert schema.short() == {"x": {"kind": "number", "thousands": ",", "unit": "$"}}
    assert schema.remarks == [
        "column 'x' (a.csv): read as numbers, '$1,234.00' = 1234; data.schema.x=category keeps the text"
    ]
    _, schema = read(["1", "2", "NA"])
    assert schema.short() == {"x": "number"}
    assert schema.remarks == ["column 'x' (a.csv): 1 cell 'NA' is read as no value"]


def test_the_parts_of_a_date_are_places_on_circles():
    days = pd.date_range("1968-02-27", "2031-12-31", freq="7h")
    number = ((days - pd.Timestamp(0)) / pd.Timedelta(days=1)).to_numpy()
    np.testing.assert_allclose(turns(number, "month") * 12, days.month - 0.5)
    np.testing.assert_allclose(turns(number, "weekday") * 7, (days.day_of_week + 2 - 0.5) % 7)  # Saturday is first
    np.testing.assert_allclose(turns(number, "hour") * 24, days.hour + days.minute / 60, atol=1e-6)
    weekend = np.cos(2 * np.pi * turns(number, "weekday"))
    assert weekend[days.day_of_week >= 5].min() > weekend[days.day_of_week < 5].max() + 0.5


def test_a_date_gets_the_parts_that_vary():
    assert parts_that_vary(np.array([0.0, 1.0, np.nan])) == ("weekday",)
    assert parts_that_vary(np.array([0.0, 7.0])) == ()
    assert parts_that_vary(np.array([0.0, 0.5])) == ("hour",)
    assert parts_that_vary(np.array([])) == ()
    assert parts_that_vary(np.array([1.5, 30.0]), clock=True) == ()  # spans of time
    frame = pd.DataFrame({"x": ["2020-01-31", "", "2020-06-01"]})
    raw = RawRows(frame, None, "a.csv")
    schema = Schema.from_state(decide_schema([raw]).state_dict())
    table = schema.read(raw)
    assert list(table) == ["x", "x (month cos)", "x (month sin)", "x (weekday cos)", "x (weekday sin)"]
    assert table.iloc[1].isna().tolist() == [True, False, False, False, False]
    assert (table.iloc[1, 1:] == 0).all()
    assert schema.read(raw, ["x (month sin)"]).columns.tolist() == ["x (month sin)"]
    assert schema.short() == {"x": {"kind": "date", "parts": "month, weekday"}}
    with pytest.raises(DataError, match=r"'x \(month cos\)' is called as a part of the date 'x' is"):
        decide_schema([RawRows(frame.assign(**{"x (month cos)": 1.0}), None, "a.csv")])
    with pytest.raises(DataError, match=r"say data\.schema\.x=\{kind: date, order: dmy, parts: auto\} \(or mdy\)"):
        read(["01/02/2020", "03/04/2020"])
