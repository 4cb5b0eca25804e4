"""CSV and Parquet files: read whole, every mistake named by file, row and column.

Rows in messages count from 1 and leave the header and blank lines out.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from tl_research.data.readers import csv_text
from tl_research.data.readers.csv_rows import (
    COMMENT_MARKS,
    refuse_missing_header,
    refuse_swallowed_rows,
    without_empty_rows,
)
from tl_research.data.readers.csv_text import (
    SEPARATOR_NAMES,
    WAY_OUT,
    as_utf8,
    count_lines,
    find_separator,
    is_large,
    mend_quotes,
    start_of,
    without_sep_line,
)
from tl_research.data.readers.large_csv import text_table
from tl_research.data.readers.parquet import ParquetTable, to_series, type_in_words
from tl_research.data.readers.paths import checked_file, first_line, read_bytes
from tl_research.data.readers.sampling import Choice, ColumnOf, Pieces, Unread
from tl_research.errors import DataError, nearest

CSV_ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
PARQUET_ENDINGS = (".parquet", ".pq")
#: Taken off names beside blanks: a byte-order mark, and spaces of no width.
_INVISIBLE = "\ufeff\u200b\u200c\u200d\u2060"


def read_table(path: str | Path, choose: Choice | None = None) -> pd.DataFrame:
    """Read a CSV or Parquet file by its ending; the columns of a CSV file are text until they are typed.

    Args:
        path: the file.
        choose: says which rows to read; default all.

    Returns:
        The table. Its `attrs` hold `remarks` (sentences on what was read otherwise than it stands), and `nested` (by
        column, in plain words, the type of a column that holds no single values; `refuse_nested` refuses it). Where
        only some rows are read, `places` (from 0) and `unread`, the file as a whole.

    Raises:
        DataError: no such file, not of that format, empty, ragged, or columns without a name of their own.
    """
    name = str(path).lower()
    file = checked_file(path)
    if name.endswith(PARQUET_ENDINGS):
        return read_parquet(file, str(path), choose)
    if name.endswith(CSV_ENDINGS):
        return read_csv(file, str(path), choose=choose)
    raise DataError(f"{path}: wants a name that ends in {', '.join(CSV_ENDINGS + PARQUET_ENDINGS)}")


def read_csv(
    source: Path | BinaryIO, origin: str, *, separator: str | None = None, choose: Choice | None = None
) -> pd.DataFrame:
    """Read a CSV file with a header, every column as text.

    The text is UTF-8, or UTF-16 or UTF-32 with a byte-order mark. A quoted cell may hold line breaks, unless these
    divide it into rows of the table: then a quote is not closed.

    Args:
        source: path (`.gz` is unpacked) or open binary file.
        origin: what to call it in messages.
        separator: default: that of a first line `sep=;`, or comma, semicolon, tab or pipe, see `find_separator`.
        choose: says which rows to keep; default all.

    Returns:
        As of `read_table`.

    Raises:
        DataError: an empty file, one that is no CSV, or one that does not fit into memory.
    """
    remarks: list[str] = []
    try:
        if isinstance(source, Path) and is_large(source) and not source.name.lower().endswith(".gz"):
            return _read_large(source, origin, separator, choose)
        data = read_bytes(source) if isinstance(source, Path) else source.read()
        data = as_utf8(data, origin, remarks)
        data, named = without_sep_line(data, origin, remarks)
        if not data.strip():
            raise DataError(f"{origin}: the file is empty")
        separator = separator or named or find_separator(data)
        data = mend_quotes(data, separator, origin, remarks)
        table = _parse(data, separator, origin)
        _refuse_no_rows(table.num_rows, origin, "has a header but no rows")
        refuse_missing_header(table, origin)
        _count_lines(table, data, separator, origin, remarks)
        del data
        table = without_empty_rows(table, origin, remarks)
        places = None if choose is None else choose(table.num_rows, _column_of(table))
        if places is None:
            return _to_frame(table, origin, remarks)
        frame = _to_frame(table.take(pa.array(places)), origin, remarks)
        frame.attrs |= {"places": places, "unread": Unread(table.num_rows, _pieces_of(table))}
        return frame
    except DataError:
        raise
    except MemoryError:
        raise DataError(f"{origin}: does not fit into memory") from None
    except Exception as error:  # whatever a library says of hostile bytes
        raise DataError(f"{origin}: not a CSV file ({first_line(error)})") from None


def _read_large(path: Path, origin: str, separator: str | None, choose: Choice | None) -> pd.DataFrame:
    """Read a sample of a CSV file that is too large to be parsed at once, as `read_parquet` reads one.

    Every row is parsed, in pieces; none is in memory but those of a piece and of the sample.
    """
    if choose is None:
        raise DataError(
            f"{origin}: a CSV file of more than 2 GiB, of which a sample can be read (data.rows); {WAY_OUT}"
        )
    start, remarks = start_of(path, origin, separator), []

    def parse(data: bytes, is_first: bool, is_last: bool) -> pa.Table:
        data = as_utf8(data, origin, remarks)
        if is_first:
            data, _ = without_sep_line(data, origin, remarks)
        data = mend_quotes(data, start.separator, origin, remarks)
        table = _parse(data, start.separator, origin)
        if is_first:
            refuse_missing_header(table, origin)
            _to_frame(table.slice(0, 0), origin, [])
        _count_lines(table, data, start.separator, origin, remarks)
        return without_empty_rows(table, origin, remarks) if is_last and table.num_rows else table

    file = text_table(path, start.separator, origin, header=start.header, most=csv_text.LARGEST_CSV, parse=parse)
    remarks = [f"{origin}: more than 2 GiB, read in pieces", *remarks]
    return _chosen(file, origin, choose, remarks)


def read_parquet(path: Path, origin: str | None = None, choose: Choice | None = None) -> pd.DataFrame:
    """Read a Parquet file, all of it or the rows that `choose` says; a pandas index stored in it is no column.

    Returns as of `read_table`.

    Raises:
        DataError: a file that is no Parquet, or does not fit into memory.
    """
    origin = origin or str(path)
    try:
        file = ParquetTable(path, origin)
        _refuse_no_rows(file.rows, origin, "has no rows")
        return _chosen(file, origin, choose, [])
    except DataError:
        raise
    except MemoryError:
        raise DataError(f"{origin}: does not fit into memory, or says of itself more than it holds") from None
    except Exception as error:  # whatever a library says of hostile bytes
        raise DataError(f"{origin}: not a Parquet file ({first_line(error)})") from None


def _chosen(file: ParquetTable, origin: str, choose: Choice | None, remarks: list[str]) -> pd.DataFrame:
    """Return the rows that are to be read, and with a sample the file that the other rows lie in."""
    places = None if choose is None else choose(file.rows, lambda name: file.column(name, _name))
    if places is None:
        return _to_frame(file.read(), origin, remarks)
    frame = _to_frame(file.take(places), origin, remarks)
    unread = Unread(file.rows, lambda names: file.pieces(names, _name))
    frame.attrs |= {"places": places, "unread": unread}
    return frame


def require_column(frame: pd.DataFrame, column: str, key: str, origin: str) -> None:
    """Raise `DataError` with the nearest name unless the table has `column`, which `key` of the config names.

    A column of lists or the like is refused too, but for those that are left out or hold images.
    """
    if column not in frame.columns:
        names = list(map(str, frame.columns))
        raise DataError(f"{origin}: there is no column {column!r} ({key}){nearest(column, names)}{_advice(names)}")
    if key not in ("data.drop", "data.image_column"):
        refuse_nested(frame[[column]], origin, key)


def refuse_nested(frame: pd.DataFrame, origin: str, key: str | None = None) -> None:
    """Raise `DataError` with the first column whose cells are no single values (lists, structs, maps, bytes).

    Args:
        frame: of `read_table`, the columns that are used.
        origin: file, for messages.
        key: of the config that names the column; default: it is a feature, which may be left out.
    """
    nested = frame.attrs.get("nested", {})
    for name in frame.columns:
        if name in nested:
            way_out = f" ({key})" if key else "; write its parts as columns, or list it in data.drop"
            raise DataError(f"{origin}, column {name!r} holds {nested[name]}, wants numbers, booleans or text{way_out}")


def _parse(data: bytes | bytearray, separator: str, origin: str) -> pa.Table:
    block = {"use_threads": False, "block_size": max(1 << 20, len(data) + 1)}
    wrong: list[pa.csv.InvalidRow] = []
    reader = pa.csv.open_csv(
        pa.py_buffer(data),
        read_options=pa.csv.ReadOptions(**block),
        parse_options=pa.csv.ParseOptions(
            delimiter=separator, newlines_in_values=True, invalid_row_handler=lambda row: "skip"
        ),
    )
    names = reader.schema.names
    try:
        return pa.csv.read_csv(
            pa.py_buffer(data),
            read_options=pa.csv.ReadOptions(**block),
            parse_options=pa.csv.ParseOptions(
                delimiter=separator,
                newlines_in_values=True,
                invalid_row_handler=lambda row: wrong.append(row) or "error",
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types={name: pa.string() for name in names}, strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid:
        if not wrong:
            raise
        raise DataError(f"{origin}, row {wrong[0].number - 1}: {_ragged(wrong[0], names, separator)}") from None


def _ragged(row: pa.csv.InvalidRow, names: list[str], separator: str) -> str:
    said = f"{row.actual_columns} values, the header has {row.expected_columns}"
    breaks = (row.text or "").strip("\r\n").count("\n")
    if breaks and '"' in row.text:
        return f"{said}; a quote that opens in it is closed {breaks} lines further down only"
    first = (names[0] if names else "").lstrip()
    if row.expected_columns < row.actual_columns and (
        row.number == 2 or row.expected_columns == 1 or first.startswith(COMMENT_MARKS)
    ):
        shown = separator.join(names)[:40]
        return f"{said} ({shown!r}); where that line is a comment or a title, take it off the file"
    if row.actual_columns == 1 and not (row.text or "").strip():
        return f"{said}; the line holds blanks alone"
    return f"{said} (separated by {SEPARATOR_NAMES.get(separator, repr(separator))})"


def _count_lines(table: pa.Table, data: bytes | bytearray, separator: str, origin: str, remarks: list[str]) -> None:
    """Account for every line: of the header, of a row, within a cell, or blank."""
    lines = count_lines(data)
    if lines == table.num_rows + 1:
        return
    cells, breaks = refuse_swallowed_rows(table, separator, origin)
    header = 1 + sum(count_lines(name.encode()) - 1 for name in table.column_names if "\n" in name or "\r" in name)
    if cells:
        total = table.num_rows + breaks
        remarks.append(f"{origin}: {cells} cells hold line breaks: {table.num_rows} rows from {total} lines")
    if (blank := lines - header - table.num_rows - breaks) > 0:
        remarks.append(f"{origin}: {blank} blank lines between the rows are left out")


def _column_of(table: pa.Table) -> ColumnOf:
    """The columns of a table by the names that they are read under."""
    place = {_name(name): i for i, name in enumerate(table.column_names)}
    return lambda name: None if name not in place else to_series(table.column(place[name])).rename(name)


def _pieces_of(table: pa.Table) -> Pieces:
    place = {_name(name): i for i, name in enumerate(table.column_names)}
    return lambda names: iter([(1, {name: table.column(place[name]) for name in names if name in place})])


def _refuse_no_rows(rows: int, origin: str, said: str) -> None:
    if rows == 0:
        raise DataError(f"{origin}: the file {said}")


def _to_frame(table: pa.Table, origin: str, remarks: list[str]) -> pd.DataFrame:
    names = [_name(name) for name in table.column_names]
    seen: dict[str, int] = {}
    for position, name in enumerate(names):
        if not name:
            guess = "a row index?" if position == 0 else "is the first line a title?"
            raise DataError(
                f"{origin}: column {position + 1} has no name ({guess}); name it, or leave it out when writing"
            )
        if name in seen:
            written = table.column_names[seen[name]], table.column_names[position]
            differ = "" if written[0] == written[1] else f", written {written[0]!a} and {written[1]!a}"
            raise DataError(f"{origin}: two columns are called {name!r}{differ}")
        seen[name] = position
    nested = {name: words for i, name in enumerate(names) if (words := type_in_words(table.column(i).type))}
    frame = pd.DataFrame({name: to_series(table.column(i)) for i, name in enumerate(names)})
    frame.attrs = {"remarks": remarks, "nested": nested}
    return frame


def _name(name: object) -> str:
    """One spelling for a column's name: composed characters, nothing invisible at its ends."""
    return unicodedata.normalize("NFC", str(name)).strip().strip(_INVISIBLE).strip()


def _advice(names: list[str]) -> str:
    """What the names of a table's columns say about a table that was read otherwise than it was meant."""
    if len(names) == 1 and len(names[0].split()) > 1:
        return "; it has one column only: the separators that are known are comma, semicolon, tab and pipe"
    if names[0].startswith(COMMENT_MARKS):
        return "; is the first line of the file a comment?"
    numbers = sum(name.replace(".", "", 1).lstrip("-").isdigit() for name in names)
    return "; is the line with the names of the columns missing?" if numbers * 2 > len(names) else ""
