"""Parquet files: every type as the file says, what holds no single values refused by name, within bounds."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tl_research.data.readers import paths
from tl_research.data.readers.domain_file import read_rows
from tl_research.data.readers.tabular import read_table, require_column
from tl_research.errors import DataError

NESTED = {
    "lists .of whole numbers": pa.array([[1], [2]]),
    "lists .of text": pa.array([None, None], pa.list_(pa.string())),
    "lists of 1 values each .of numbers": pa.array([[1.0], [2.0]], pa.list_(pa.float32(), 1)),
    "structs .of the fields a, b": pa.array([{"a": 1, "b": "x"}, None]),
    "maps .text to whole numbers": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())),
    "lists .of lists": pa.array([[[1]], [[2]]]),
    "bytes values": pa.array([b"x", b"y"]),
    "bytes values .2 bytes each": pa.array([b"xx", b"yy"], pa.binary(2)),
    "spans of time": pa.array([1, 2], pa.duration("s")),
}


def write(folder, x, y=None):
    columns = {"a": pa.array(np.arange(len(x), dtype=float)), "x": x, "y": pa.array([0, 1]) if y is None else y}
    path = folder / "s.parquet"
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("words", NESTED)
def test_columns_without_single_values_are_refused_in_plain_words_where_they_are_used(tmp_path, words):
    column = NESTED[words]
    path = write(tmp_path, column)
    with pytest.raises(DataError, match=rf"s\.parquet, column 'x' holds {words}.*data\.drop"):
        read_rows(path, "y")
    rows, _ = read_rows(path, "y", drop=["x"])
    assert list(rows.inputs) == ["a"]
    with pytest.raises(DataError, match=rf"column 'y' holds {words}.*data\.label"):
        read_rows(write(tmp_path, pa.array([1, 2]), column), "y")
    with pytest.raises(DataError, match=rf"column 'x' holds {words}.*data\.domain_column"):
        read_rows(write(tmp_path, column), "y", domain_column="x")
    # Images may be bytes, or structs of bytes and path.
    require_column(read_table(path), "x", "data.image_column", "s.parquet")


def test_a_list_inside_a_dictionary_is_named_too(tmp_path):
    kind = pa.dictionary(pa.int8(), pa.binary())
    path = write(tmp_path, pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array([b"x", b"y"])))
    assert kind.value_type == pa.binary()
    with pytest.raises(DataError, match="column 'x' holds bytes values"):
        read_rows(path, "y")


LARGE = 2**60 + 1


@pytest.mark.parametrize(
    ("column", "dtype", "values"),
    [
        (pa.array([LARGE, None]), "Int64", [LARGE, None]),
        (pa.array([LARGE, 1]), "int64", [LARGE, 1]),
        (pa.array([2**64 - 1, None], pa.uint64()), "UInt64", [2**64 - 1, None]),
        (pa.array([-5, None], pa.int8()), "Int8", [-5, None]),
        (pa.array([LARGE, None]).dictionary_encode(), "Int64", [LARGE, None]),
        (pa.array([True, None]), "boolean", [True, None]),
        (pa.array([True, False]), "bool", [True, False]),
        (pa.array([1.5, None]), "float64", [1.5, None]),
        (pa.array(["x", None]), "object", ["x", None]),
        (pa.array(["x", None], pa.large_string()), "object", ["x", None]),
        (pa.array(["x", None]).dictionary_encode(), "object", ["x", None]),
        (pa.array([None, None]), "object", [None, None]),
        (pa.array([Decimal("1.50"), None]), "object", [Decimal("1.50"), None]),
        (pa.array([datetime.date(2024, 1, 31), None]), "object", [datetime.date(2024, 1, 31), None]),
        (pa.array([datetime.datetime(9999, 1, 1), None]), "datetime64[us]", [pd.Timestamp("9999-01-01"), None]),
    ],
)
def test_types_reach_the_table_exactly(tmp_path, column, dtype, values):
    read = read_table(write(tmp_path, column))["x"]
    assert str(read.dtype) == dtype
    assert [None if pd.isna(value) else value for value in read] == values
    if dtype == "object":
        assert all(value is None for value in read[read.isna()])


def test_the_folder_of_a_file_makes_no_column(tmp_path):
    folder = tmp_path / "country=NO"
    folder.mkdir()
    assert list(read_table(write(folder, pa.array([1, 2])))) == ["a", "x", "y"]


def test_names_are_checked_as_in_a_csv_file(tmp_path):
    path = tmp_path / "s.parquet"
    for names, message in (
        (["a", "a"], "two columns are called 'a'"),
        (["città", "citta\u0300"], "two columns are called 'città', written"),
        (["", "a"], "column 1 has no name"),
    ):
        pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=names), path)
        with pytest.raises(DataError, match=rf"s\.parquet: {message}"):
            read_table(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: b"", "the file is empty"),
        (lambda data: b"a,b\n1,2\n", "not a Parquet file"),
        (lambda data: b"\x89PNG\r\n", "not a Parquet file .it is a PNG image"),
        (lambda data: data[:-30], "not a Parquet file"),
        (lambda data: data[:-4] + b"XXXX", "not a Parquet file"),
        (lambda data: data[:-8] + b"\xff\xff\xff\x7fPAR1", "not a Parquet file"),
        (lambda data: data[:30] + bytes(40) + data[70:], "not a Parquet file"),
        (lambda data: b"PARE" + data[4:], "not a Parquet file .is encrypted"),
        (lambda data: b"PAR1", "not a Parquet file"),
    ],
)
def test_a_broken_file_is_said(tmp_path, spoil, message):
    path = write(tmp_path, pa.array(["x", "y"]))
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match=rf"s\.parquet: {message}"):
        read_table(path)


def test_no_rows_and_far_too_many(tmp_path, monkeypatch):
    path = tmp_path / "s.parquet"
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), path)
    with pytest.raises(DataError, match="the file has no rows"):
        read_table(path)
    pq.write_table(pa.table({"a": np.zeros(400_000, np.int8)}), path)
    assert len(read_table(path)) == 400_000
    monkeypatch.setattr(paths, "LARGEST_UNPACKED", 2**20)
    with pytest.raises(DataError, match=r"s\.parquet: unpacks to more than 1 MiB and 200 times its size"):
        read_table(path)
