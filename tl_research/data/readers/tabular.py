"""CSV and Parquet files: read whole, every mistake named by file, row and column.

Rows in messages count from 1 and leave the header and blank lines out.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from tl_research.errors import DataError, nearest

CSV_ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
PARQUET_ENDINGS = (".parquet", ".pq")
_SEPARATORS = (",", ";", "\t")
_PARQUET_MAGIC = b"PAR1"
_NULLABLE = {
    getattr(pa, f"{kind}{bits}")(): getattr(pd, f"{name}{bits}Dtype")()
    for kind, name in (("int", "Int"), ("uint", "UInt"))
    for bits in (8, 16, 32, 64)
}


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a CSV or Parquet file by its ending; the columns of a CSV file are text until `infer_types`.

    Raises:
        DataError: no such file, not of that format, empty, ragged, or columns without a name of their own.
    """
    path, name = Path(path), str(path).lower()
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    if name.endswith(PARQUET_ENDINGS):
        return read_parquet(path)
    if name.endswith(CSV_ENDINGS):
        return read_csv(path, str(path))
    raise DataError(f"{path}: wants a name that ends in {', '.join(CSV_ENDINGS + PARQUET_ENDINGS)}")


def read_csv(source: Path | BinaryIO, origin: str, *, separator: str | None = None) -> pd.DataFrame:
    """Read a UTF-8 CSV file with a header, every column as text.

    Args:
        source: path (`.gz` is unpacked) or open binary file.
        origin: what to call it in messages.
        separator: default: whichever of comma, semicolon and tab the header has most of.
    """
    try:
        # pyarrow unpacks by the ending of a path's name.
        stream = pa.input_stream(str(source) if isinstance(source, Path) else source)
        data = stream.read()
    except OSError as error:
        raise DataError(f"{origin}: cannot be read ({error})") from None
    if not data.strip():
        raise DataError(f"{origin}: the file is empty")
    if data[:4] == _PARQUET_MAGIC or b"\0" in data[:4096]:
        raise DataError(f"{origin}: not a CSV file (it holds binary data)")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{origin}: line {line} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    header = data.lstrip(b"\r\n").split(b"\n", 1)[0].decode("utf-8", "replace")
    separator = separator or max(_SEPARATORS, key=header.count)
    names = _header_names(data, separator, origin)
    wrong: list[pa.csv.InvalidRow] = []
    try:
        table = pa.csv.read_csv(
            pa.BufferReader(data),
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=max(1 << 20, len(data) + 1)),
            parse_options=pa.csv.ParseOptions(
                delimiter=separator,
                newlines_in_values=True,
                invalid_row_handler=lambda row: wrong.append(row) or "error",
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types={name: pa.string() for name in names}, strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        if wrong:
            row = wrong[0]
            raise DataError(
                f"{origin}, row {row.number - 1}: {row.actual_columns} values, the header has {row.expected_columns}"
            ) from None
        raise DataError(f"{origin}: not a CSV file ({str(error).splitlines()[0]})") from None
    return _to_frame(table, origin)


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a Parquet file; a pandas index stored in it is no column."""
    try:
        table = pa.parquet.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a Parquet file ({str(error).splitlines()[0]})") from None
    index = (table.schema.pandas_metadata or {}).get("index_columns", [])
    table = table.drop_columns([name for name in index if isinstance(name, str) and name in table.column_names])
    return _to_frame(table, str(path))


def require_column(frame: pd.DataFrame, column: str, key: str, origin: str) -> None:
    """Raise `DataError` with the nearest name unless the table has `column`, which `key` of the config names."""
    if column not in frame.columns:
        raise DataError(f"{origin}: there is no column {column!r} ({key}){nearest(column, map(str, frame.columns))}")


def _header_names(data: bytes, separator: str, origin: str) -> list[str]:
    try:
        reader = pa.csv.open_csv(
            pa.BufferReader(data),
            parse_options=pa.csv.ParseOptions(
                delimiter=separator, newlines_in_values=True, invalid_row_handler=lambda row: "skip"
            ),
        )
    except pa.ArrowInvalid as error:
        raise DataError(f"{origin}: not a CSV file ({str(error).splitlines()[0]})") from None
    return reader.schema.names


def _to_frame(table: pa.Table, origin: str) -> pd.DataFrame:
    names = [str(name).strip() for name in table.column_names]
    for position, name in enumerate(names):
        if not name:
            raise DataError(
                f"{origin}: column {position + 1} has no name (a row index?); name it, or leave it out when writing"
            )
        if names.count(name) > 1:
            raise DataError(f"{origin}: two columns are called {name!r}")
    if table.num_rows == 0:
        raise DataError(f"{origin}: the file has a header but no rows")
    return pd.DataFrame({name: _to_series(table.column(i)) for i, name in enumerate(names)})


def _to_series(column: pa.ChunkedArray) -> pd.Series:
    # Whole numbers beside a missing one would become floats, which hold 53 bits.
    exact = pa.types.is_integer(column.type) and column.null_count
    series = column.to_pandas(types_mapper=_NULLABLE.get) if exact else column.to_pandas()
    # pandas 3 has a text type of its own; plain objects read the same in every version.
    return series.astype(object) if pa.types.is_string(column.type) or pa.types.is_null(column.type) else series
