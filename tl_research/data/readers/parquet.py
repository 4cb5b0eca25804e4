"""Parquet files: within bounds, columns as their types say, and a type in plain words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from tl_research.data.readers.paths import kind_of, refuse_bomb
from tl_research.errors import DataError

#: Whole numbers and booleans with missing values stay what they are; pandas by itself makes floats of them.
_NULLABLE = {
    **{getattr(pa, f"int{bits}")(): getattr(pd, f"Int{bits}Dtype")() for bits in (8, 16, 32, 64)},
    **{getattr(pa, f"uint{bits}")(): getattr(pd, f"UInt{bits}Dtype")() for bits in (8, 16, 32, 64)},
    pa.bool_(): pd.BooleanDtype(),
}


#: Rows that are decoded at a time where only some of them are read.
_ROWS_AT_ONCE = 1 << 16
#: Bytes of a column that are buffered at a time, so that a row group of any size fits.
_BUFFER = 1 << 20


class ParquetTable:
    """A Parquet file without the pandas index that it may hold, read whole or piece by piece.

    Args:
        path: the file.
        origin: what to call it in messages.

    Raises:
        DataError: not a Parquet file, or rows beyond the bounds of `paths.refuse_bomb`; other exceptions are pyarrow's.
    """

    def __init__(self, path: Path, origin: str):
        self.path = path
        with open(path, "rb") as stream:
            head = stream.read(4096)
        if not head:
            raise DataError(f"{origin}: the file is empty")
        if head[:4] != b"PAR1":
            kind = "is encrypted" if head[:4] == b"PARE" else f"it is {kind_of(head) or 'something else'}"
            raise DataError(f"{origin}: not a Parquet file ({kind})")
        with self._open() as file:
            facts = file.metadata
            # A value is decoded to 8 bytes at least.
            refuse_bomb(8 * facts.num_rows * facts.num_columns, path.stat().st_size, origin)
            self.rows = facts.num_rows
            schema = file.schema_arrow
        index = (schema.pandas_metadata or {}).get("index_columns", [])
        self.names = [name for name in schema.names if name not in [text for text in index if isinstance(text, str)]]

    def _open(self) -> pa.parquet.ParquetFile:
        # Not read_table: it makes a column of a folder that is called country=NO.
        return pa.parquet.ParquetFile(self.path, buffer_size=_BUFFER)

    def read(self) -> pa.Table:
        """Return all rows."""
        with self._open() as file:
            table = file.read(use_threads=False)
        return table.drop_columns([name for name in table.column_names if name not in self.names])

    def column(self, name: str, read_as: Callable[[str], str]) -> pd.Series | None:
        """Return one column whole, by the name that `read_as` makes of it; None where there is none."""
        stored = next((own for own in self.names if read_as(own) == name), None)
        if stored is None:
            return None
        with self._open() as file:
            return to_series(file.read(columns=[stored], use_threads=False).column(0)).rename(name)

    def take(self, places: np.ndarray) -> pa.Table:
        """Return some rows, by their places (k,), sorted."""
        found = []
        for start, batch in self._batches(self.names):
            low, high = np.searchsorted(places, (start, start + batch.num_rows))
            # A batch of no rows keeps the types of an empty choice.
            found.append(batch.take(pa.array(places[low:high] - start)))
        return pa.Table.from_batches(found).select(self.names)

    def pieces(self, names: Sequence[str], read_as: Callable[[str], str]) -> Iterator[tuple[int, dict[str, pa.Array]]]:
        """Yield the number of the first row, and those of the columns that hold text, piece by piece."""
        with self._open() as file:
            texts = {field.name for field in file.schema_arrow if _is_text(field.type)}
        stored = {own: name for own in self.names if own in texts and (name := read_as(own)) in names}
        for start, batch in self._batches(list(stored)) if stored else ():
            yield start + 1, {name: batch.column(own).cast(pa.large_string()) for own, name in stored.items()}

    def _batches(self, names: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
        start = 0
        with self._open() as file:
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=names, use_threads=False):
                yield start, batch
                start += batch.num_rows


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a DataFrame without its index, so that it is read by the rules of files.

    Raises:
        DataError: a column that Parquet cannot hold.
    """
    try:
        frame.to_parquet(path, index=False)
    except (ValueError, TypeError, OverflowError, pa.ArrowException) as error:
        reason = str(error).split("\n")[0]
        raise DataError(f"{path.name}: the DataFrame cannot be written as Parquet ({reason})") from None


def to_series(column: pa.ChunkedArray) -> pd.Series:
    """Return a column with its values as the file types them.

    Whole numbers and booleans with missing values are nullable, text is objects, decimals are `Decimal`, dates and
    times are typed; a dictionary is written out.
    """
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], type=kind.storage_type)
        kind = column.type
    if _is(kind, "dictionary"):
        return to_series(column.cast(kind.value_type))
    if _is_text(kind) or _is(kind, "null"):
        # pandas 3 has a text type of its own; plain objects read the same in every version.
        text = column.cast(pa.large_string()).to_pandas().to_numpy(dtype=object, copy=True)
        if column.null_count:
            text[column.is_null().to_numpy()] = None
        return pd.Series(text, dtype=object)
    if column.null_count and kind in _NULLABLE:
        return column.to_pandas(types_mapper=_NULLABLE.get)
    return column.to_pandas()


def type_in_words(kind: pa.DataType) -> str | None:
    """Say what the cells of a column are that is no column of single values; None for one that is."""
    if isinstance(kind, pa.BaseExtensionType):
        return type_in_words(kind.storage_type)
    if _is(kind, "dictionary"):
        return type_in_words(kind.value_type)
    if _is(kind, "map"):
        return f"maps ({_word(kind.key_type)} to {_word(kind.item_type)})"
    if _is(kind, "list", "large_list", "list_view", "large_list_view"):
        return f"lists (of {_word(kind.value_type)})"
    if _is(kind, "fixed_size_list"):
        return f"lists of {kind.list_size} values each (of {_word(kind.value_type)})"
    if _is(kind, "struct"):
        return f"structs (of the fields {', '.join(kind.field(i).name for i in range(kind.num_fields))})"
    if _is(kind, "union"):
        return "values of several types"
    if _is(kind, "binary", "large_binary", "binary_view"):
        return "bytes values"
    if _is(kind, "fixed_size_binary") and not _is(kind, "decimal"):
        return f"bytes values ({kind.byte_width} bytes each)"
    if _is(kind, "duration", "interval"):
        return "spans of time"
    return None


def _is_text(kind: pa.DataType) -> bool:
    return _is(kind, "string", "large_string", "string_view")


def _is(kind: pa.DataType, *names: str) -> bool:
    # Views are of pyarrow 16.
    return any(check(kind) for name in names if (check := getattr(pa.types, f"is_{name}", None)))


def _word(kind: pa.DataType) -> str:
    if _is_text(kind):
        return "text"
    if _is(kind, "integer"):
        return "whole numbers"
    if _is(kind, "floating", "decimal"):
        return "numbers"
    return type_in_words(kind) or str(kind)
