"""CSV files as strangers write them: quotes, separators, encodings, headers; every line is accounted for."""

import codecs
import csv
import gzip
import io
import itertools
import zipfile

import numpy as np
import pandas as pd
import pytest

from tl_research.data.readers import csv_text, paths
from tl_research.data.readers.csv_text import find_separator, mend_quotes
from tl_research.data.readers.domain_file import read_rows
from tl_research.data.readers.tabular import read_csv, read_table
from tl_research.errors import DataError

ROWS = 200
WORDS = ["good", "product", "fast", "shipping", "would", "buy", "not", "as", "described", "again"]


def table(seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 80, ROWS),
            "income": rng.integers(1000, 9000, ROWS),
            "city": rng.choice(["Oslo", "Rome", "Lima"], ROWS),
            "y": rng.integers(0, 2, ROWS),
        }
    )


def texts(commas=False, seed=1):
    rng = np.random.default_rng(seed)
    return [(", " if commas else " ").join(rng.choice(WORDS, rng.integers(4, 9))) for _ in range(ROWS)]


def reviews(columns):
    """A table of free text, in an order of its columns."""
    frame = table().assign(text=texts(), title=texts(seed=2), code=[f"AB-{i}" for i in range(ROWS)])
    return frame[columns]


TABLES = {
    "numbers and few values": table(),
    "text last": reviews(["age", "y", "text"]),
    "text first": reviews(["text", "y"]),
    "text between": reviews(["age", "text", "city", "y"]),
    "label and text": reviews(["y", "text"]),
    "codes": reviews(["code", "title", "text"]),
    "texts alone": reviews(["title", "text"]),
    "three texts": reviews(["title", "text", "title"]).set_axis(["a", "b", "c"], axis=1),
}


def write(folder, text, name="t.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(folder, text, name="t.csv"):
    path = write(folder, text, name)
    return read_csv(path, path.name)


def remarks(frame):
    return frame.attrs["remarks"]


def with_quote(line, column, *, closing=False):
    """Put a quote before a cell of a line, or after it."""
    cells = line.split(",")
    cells[column] = cells[column] + '"' if closing else '"' + cells[column]
    return ",".join(cells)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("column", [0, 1, -1])
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_a_quote_that_is_never_closed_is_refused_by_its_row(tmp_path, name, column, end):
    lines = TABLES[name].to_csv(index=False).splitlines()
    lines[50] = with_quote(lines[50], column)
    text = (end or "\n").join(lines) + end
    with pytest.raises(DataError, match=r"^t\.csv, row 50 \(line 51\): the quote .* is never closed; 150 lines"):
        read(tmp_path, text)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("column", [0, 1, -1])
@pytest.mark.parametrize("rows", [1, 2, 10, 40, 149])
def test_a_quote_that_is_closed_rows_later_is_refused_by_its_row(tmp_path, name, column, rows):
    frame = TABLES[name]
    lines = frame.to_csv(index=False).splitlines()
    lines[50] = with_quote(lines[50], column)
    lines[50 + rows] = with_quote(lines[50 + rows], column, closing=True)
    if "texts" in name and rows < (2 if frame.shape[1] == 3 else 5):
        # Nothing but two or three free texts, one comma a line: a text may look so. It is counted.
        lost = read(tmp_path, "\n".join(lines))
        assert remarks(lost) == [f"t.csv: 1 cells hold line breaks: {ROWS - rows} rows from {ROWS} lines"]
        return
    with pytest.raises(DataError, match=rf"^t\.csv, row 50, column '\w+': one cell holds {rows + 1} lines, .*rows of"):
        read(tmp_path, "\n".join(lines) + "\n")


def test_a_column_of_text_alone_is_judged_by_the_lines_of_one_cell(tmp_path):
    lines = ["text", *texts()]
    lines[20], lines[60] = '"' + lines[20], lines[60] + '"'
    with pytest.raises(DataError, match="row 20, column 'text': one cell holds 41 lines"):
        read(tmp_path, "\n".join(lines))


@pytest.mark.parametrize("closing", ['"5" screen"', '"a \\"b\\" c"', '"Oslo"x'])
def test_text_after_a_closing_quote_is_refused(tmp_path, closing):
    with pytest.raises(DataError, match=r"t\.csv, row 2 \(line 3\): the quote .* is closed with the text"):
        read(tmp_path, f"a,b\n1,x\n2,{closing}\n3,y\n")


def test_a_quote_that_ends_where_another_cell_begins_names_both_lines(tmp_path):
    lines = table().to_csv(index=False).splitlines()
    lines[50], lines[90] = with_quote(lines[50], -1), with_quote(lines[90], -1)
    with pytest.raises(DataError, match=r"row 50 \(line 51\): the quote .* is closed in line 91 with the text"):
        read(tmp_path, "\n".join(lines))


def test_rows_before_a_stray_quote_are_counted_as_records_and_not_as_lines(tmp_path):
    text = 'a,b\n1,"x\ny"\n\n2,"z\n\nz"\n3,"open\n4,w\n'
    with pytest.raises(DataError, match=r"row 3 \(line 8\): the quote"):
        read(tmp_path, text)


@pytest.mark.parametrize("columns", [["age", "y", "text"], ["text", "y"], ["y", "text"], ["text"], ["title", "text"]])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_texts_that_hold_line_breaks_are_read_and_counted(tmp_path, columns, end):
    frame = reviews(["age", "y", "text", "title"])[columns].copy()
    long = [text.replace(" ", "\n", 1 + row % 3).replace(" ", ", ") for row, text in enumerate(texts())]
    frame["text"] = np.where(np.arange(ROWS) % 4 == 0, long, frame["text"])
    back = read(tmp_path, frame.to_csv(index=False, lineterminator=end))
    assert back["text"].tolist() == frame["text"].tolist()
    breaks = sum(text.count("\n") for text in frame["text"])
    assert remarks(back) == [f"t.csv: {ROWS // 4} cells hold line breaks: {ROWS} rows from {ROWS + breaks} lines"]
    rows, _ = read_rows(tmp_path / "t.csv", None)
    assert rows.remarks == [f"{tmp_path}/{remarks(back)[0]}"]


def test_quotes_inside_unquoted_cells_are_characters(tmp_path):
    frame = read(tmp_path, 'size,note\n5" screen,a "good" one\n7" screen,"two, ""fine"" ones"\n')
    assert frame.to_numpy().tolist() == [['5" screen', 'a "good" one'], ['7" screen', 'two, "fine" ones']]
    assert remarks(frame) == []


def test_blanks_around_quoted_cells_are_left_off_and_counted(tmp_path):
    frame = read(tmp_path, 'a,b\n1, "Oslo, NO" \n2, 5" screen\n3, "x" y\n4,"z" \n')
    assert frame["b"].str.strip().tolist() == ["Oslo, NO", '5" screen', '"x" y', "z"]
    assert remarks(frame) == ["t.csv: 1 quoted cells have blanks before the quote, which were left off"]


def test_quotes_are_read_as_the_csv_module_reads_them():
    """The fast check and the exact one agree on random text of few characters, and both with Python's parser.

    Blanks before a quote are left out: Python's parser takes such a quote for a character.
    """
    rng = np.random.default_rng(0)
    accepted = 0
    for _ in range(20_000):
        text = "a,b\n" + "".join(rng.choice(list('",\nx'), rng.integers(1, 14)))
        try:
            expected = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row][1:]
        except csv.Error:
            with pytest.raises(DataError):
                mend_quotes(text.encode(), ",", "t.csv", [])
            continue
        assert mend_quotes(text.encode(), ",", "t.csv", []) == text.encode()
        if expected and all(len(row) == 2 and any(row) and "\n" not in "".join(row) for row in expected):
            frame = read_csv(io.BytesIO(text.encode()), "t.csv")
            assert frame.to_numpy().tolist() == expected
            accepted += 1
    assert accepted > 500


@pytest.mark.parametrize("text", ['a,b\n1,"x', 'a,b\n"1,2\n', '"a,b\n1,2\n', 'a,b\n1,"x"y\n'])
def test_quotes_that_the_csv_module_refuses_are_refused(text):
    with pytest.raises(DataError, match="the quote that opens"):
        mend_quotes(text.encode(), ",", "t.csv", [])


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quoting", [0, 1, 2])
def test_the_separator_is_found(tmp_path, separator, quoting):
    frame = table().rename(columns={"age": "age; of | a, person"})
    frame["city"] = frame["city"] + ", NO; |"
    back = read(tmp_path, frame.to_csv(index=False, sep=separator, quoting=quoting))
    assert list(back) == list(frame)
    assert back["city"].tolist() == frame["city"].tolist()
    assert remarks(back) == []


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("age,in;co;me;x,y\n1,2,0\n3,4,1\n", ","),
        ("a;b\n1,5;2,5\n3,5;4,5\n", ";"),
        ('"a,b,c";d\n1;2\n', ";"),
        ("text\nhello, you\n", ","),
        ("a|b,c\n1|2\n3|4\n", "|"),
        ("a,b\n1,2\n3,4,5\n6,7\n", ","),
    ],
)
def test_a_separator_inside_names_does_not_mislead(text, separator):
    assert find_separator(text.encode()) == separator


@pytest.mark.parametrize(("line", "separator"), [("sep=;", ";"), ('"sep=;"', ";"), ("SEP=^", "^"), ("sep=\t", "\t")])
def test_the_first_line_of_excel_names_the_separator(tmp_path, line, separator):
    frame = table()
    back = read(tmp_path, f"{line}\r\n" + frame.to_csv(index=False, sep=separator))
    assert back["income"].tolist() == frame["income"].astype(str).tolist()
    assert remarks(back) == [f"t.csv: its first line, sep={separator}, names the separator and is no row"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_utf_16_and_32_with_their_mark_are_read_and_said(tmp_path, encoding):
    frame = table().assign(city="Zürich")
    back = read(tmp_path, frame.to_csv(index=False, sep="\t").encode(encoding))
    assert back["city"].unique().tolist() == ["Zürich"]
    assert remarks(back) == [f"t.csv: is {encoding.upper()} text and was read so"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("a,b\n1,2\n".encode("utf-16-le"), "is UTF-16 text without a byte-order mark.*save it as UTF-8"),
        (codecs.BOM_UTF16_LE + b"a\0,\0\xd8", "not UTF-16 text as its first bytes say"),
        ("a,b\n1,Zürich\n".encode("latin-1"), r"line 2 is not UTF-8 text \(byte 7: b'\\xfc'\); save it as UTF-8"),
        (b"a,b\n1,x\0y\n", "binary data: a NUL byte in line 2"),
        (b"a,b\n" + b"1,2\n" * 5000 + b"\0", "binary data: a NUL byte in line 5002"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), r"a gzip file; give it the ending \.csv\.gz"),
        (b"\x93NUMPY\x01\0", "numpy.save"),
        (b"<!DOCTYPE html>\n<html>", "it is an HTML page"),
        (b'[{"a": 1}]', "it is JSON"),
        (b'{"a": 1}\n{"a": 2}\n', "it is JSON"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b"sep=;\n", "the file is empty"),
    ],
)
def test_what_is_no_utf_8_table_is_named(tmp_path, data, message):
    with pytest.raises(DataError, match=rf"^t\.csv: .*{message}"):
        read(tmp_path, data)


def test_archives_are_named(tmp_path):
    for member, kind in (("a.csv", "a zip archive"), ("xl/workbook.xml", "an Excel workbook")):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr(member, "a,b\n1,2\n")
        with pytest.raises(DataError, match=kind):
            read(tmp_path, stream.getvalue())


def test_a_table_may_begin_with_the_letters_of_another_format(tmp_path):
    assert list(read(tmp_path, "ORC,PAR1,BZh\n1,2,3\n")) == ["ORC", "PAR1", "BZh"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# exported in 2024\nage,city,y\n70,Oslo,1\n", r"row 1: 3 values, the header has 1 \('# exported.*comment"),
        ("# a\n# b\nage,city,y\n70,Oslo,1\n", "row 2: 3 values, the header has 1 .*comment"),
        ("Report\nage,city,y\n70,Oslo,1\n", r"row 1: 3 values, the header has 1 \('Report'\).*title"),
        ("# by, me\nage,y\n" + "70,1\n71,0\n" * 9, r"the first line \('# by', \.\.\.\) is a comment"),
        ("Report,,\nage,city,y\n70,Oslo,1\n", "column 2 has no name .*a title"),
        ("a,b\n1,2\n   \n3,4\n", "row 2: 1 values.*the line holds blanks alone"),
        ('a,b\n1,"x\ny\nz",2\n', "row 1: 3 values, .*a quote that opens in it is closed 2 lines further down"),
    ],
)
def test_lines_that_are_no_header(tmp_path, text, message):
    with pytest.raises(DataError, match=rf"^t\.csv.*{message}"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    "columns", [["age", "income", "city", "y"], ["age", "income", "y"], ["city", "y"], ["code", "age"]]
)
def test_a_missing_header_is_said(tmp_path, columns):
    text = reviews(["age", "y", "text", "code"]).join(table()[["income", "city"]])[columns]
    with pytest.raises(DataError, match=r"the first line .* looks like a row, not like names of columns"):
        read(tmp_path, text.to_csv(index=False, header=False))


@pytest.mark.parametrize(
    "names", [["0", "1", "2"], ["2019", "2020", "2021"], ["2021", "2020", "2019"], ["9", "7", "label"], ["a", "b", "c"]]
)
def test_names_that_are_numbers_in_order_are_a_header(tmp_path, names):
    frame = table()[["age", "income", "y"]].set_axis(names, axis=1)
    assert list(read(tmp_path, frame.to_csv(index=False))) == names


def test_names_are_composed_and_hold_nothing_invisible_at_their_ends(tmp_path):
    assert list(read(tmp_path, "\u200bage ,citta\u0300\n1,2\n")) == ["age", "città"]
    with pytest.raises(DataError, match=r"two columns are called 'città', written 'citt\\xe0' and 'citta\\u0300'"):
        read(tmp_path, "città,citta\u0300\n1,2\n")


def test_blank_lines_and_empty_rows_are_counted(tmp_path):
    frame = read(tmp_path, "a,b\n\n1,2\n\n\n3,4\n,\n5,6\n,\n,\n\n\n")
    assert frame["a"].tolist() == ["1", "3", "", "5"]
    assert remarks(frame) == [
        "t.csv: 3 blank lines between the rows are left out",
        "t.csv: 2 rows at the end hold no value and are left out",
        "t.csv: 1 rows between others hold no value (the first is row 3)",
    ]
    with pytest.raises(DataError, match="no cell of its 2 rows holds a value"):
        read(tmp_path, "a,b\n,\n,\n")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_plain_table_has_no_remarks(tmp_path, end):
    for name, frame in TABLES.items():
        back = read(tmp_path, frame.to_csv(index=False, lineterminator=end))
        assert remarks(back) == [], name
        assert back.to_numpy().tolist() == frame.astype(str).to_numpy().tolist()


def test_every_line_is_a_row_a_part_of_a_cell_blank_or_refused(tmp_path):
    """Random tables of text, numbers and stray quotes: what is read is as many lines as the file has."""
    rng = np.random.default_rng(3)
    read_whole = 0
    for _ in range(300):
        lines = [f"{rng.integers(9)},{rng.choice(WORDS)},{rng.integers(2)}" for _ in range(rng.integers(5, 30))]
        for at in rng.integers(0, len(lines), rng.integers(0, 3)):
            lines[at] = with_quote(lines[at], rng.integers(3), closing=bool(rng.integers(2)))
        try:
            frame = read(tmp_path, "\n".join(["n,word,y", *lines]) + "\n")
        except DataError:
            assert any('"' in line for line in lines)
            continue
        broken = frame.apply(lambda column: column.str.count("\n").sum()).sum()
        assert len(frame) + broken == len(lines)
        assert broken == 0 or "cells hold line breaks" in remarks(frame)[0]
        read_whole += broken == 0
    assert read_whole > 100


@pytest.mark.parametrize("name", ["t.csv.gz", "T.CSV.GZ"])
def test_packed_files_of_one_member_or_two(tmp_path, name):
    packed = gzip.compress(b"a,b\n1,2\n", mtime=0) + gzip.compress(b"3,4\n", mtime=0) + bytes(512)
    assert read_table(write(tmp_path, packed, name))["a"].tolist() == ["1", "3"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a,b\n1,2\n", "not a gzip file"),
        (b"PAR1\0\0", "not a gzip file .a Parquet file"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-6], "a truncated gzip file"),
        (gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:-8] + b"12345678", "a broken gzip file"),
    ],
)
def test_packed_files_that_are_none(tmp_path, data, message):
    with pytest.raises(DataError, match=rf"t\.csv\.gz: {message}"):
        read_table(write(tmp_path, data, "t.csv.gz"))


def test_a_small_file_that_unpacks_to_much_is_refused_early(tmp_path, monkeypatch):
    path = write(tmp_path, gzip.compress(b"1,2\n" * 3_000_000, mtime=0), "t.csv.gz")
    assert (
        len(read_table(write(tmp_path, gzip.compress(b"a,b\n" + b"1,2\n" * 300_000, mtime=0), "u.csv.gz"))) == 300_000
    )
    monkeypatch.setattr(paths, "LARGEST_UNPACKED", 2**21)
    with pytest.raises(DataError, match=r"t\.csv\.gz: unpacks to more than 2 MiB and 200 times its size"):
        read_table(path)


def test_a_file_beyond_the_bound_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_text, "LARGEST_CSV", 100)
    with pytest.raises(DataError, match=r"more than 2 GiB.*; save it as Parquet"):
        read(tmp_path, table().to_csv(index=False))


def test_a_column_that_is_not_there_explains_itself(tmp_path):
    for text, message in (
        ("age income y\n1 2 0\n3 4 1\n", "it has one column only: the separators that are known are comma"),
        ("# id,b\nx,2\nz,4\n", "is the first line of the file a comment"),
        ("17,zz,4\nmm,b,1\n", "is the line with the names of the columns missing"),
    ):
        with pytest.raises(DataError, match=rf"there is no column 'label' .*{message}"):
            read_rows(write(tmp_path, text), "label")


def test_each_pair_of_mistakes_is_one_message(tmp_path):
    edits = {
        "quote": lambda lines: [*lines[:9], with_quote(lines[9], 0), *lines[10:]],
        "ragged": lambda lines: [*lines[:7], lines[7] + ",x", *lines[8:]],
        "latin": lambda lines: [*lines[:5], lines[5] + "\udcff", *lines[6:]],
        "header": lambda lines: lines[1:],
        "nul": lambda lines: [*lines, "\0"],
    }
    for one, two in itertools.permutations(edits.values(), 2):
        text = "\n".join(two(one(table().to_csv(index=False).splitlines())))
        with pytest.raises(DataError, match=r"^t\.csv"):
            read(tmp_path, text.encode("utf-8", "surrogateescape"))
