"""CSV files beyond what one parse holds: in pieces of whole rows to a Parquet file of text, which is sampled."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tl_research.data.readers.csv_text import count_lines
from tl_research.data.readers.parquet import ParquetTable
from tl_research.errors import DataError

#: Bytes that are parsed at a time; a parse takes some four times as many.
PIECE = 128 * 2**20


class Piece(NamedTuple):
    """Whole rows of a file.

    Fields:
        line: number of its first line, from 1.
        data: its bytes; those of the first piece begin with the header.
        is_last: whether the file ends with it.
    """

    line: int
    data: bytes
    is_last: bool


def pieces_of(path: Path, separator: str, origin: str, *, most: int) -> Iterator[Piece]:
    """Yield a file in pieces that end where a row does: at a line break that is in no quoted cell.

    Args:
        path: of a file in UTF-8.
        separator: of its cells.
        origin: what to call it in messages.
        most: bytes in which a row must end.

    Raises:
        DataError: no row ends within `most` bytes.
    """
    line, left = 1, b""
    with open(path, "rb") as stream:
        while block := stream.read(PIECE):
            data = left + block
            end = row_end(data, separator)
            if end == 0 and len(data) > most:
                raise DataError(f"{origin}: no row ends after line {line}; a quote that opens a cell is never closed")
            left = data[end:]
            if end:
                yield Piece(line, data[:end], is_last=False)
                line += data.count(b"\n", 0, end) or data.count(b"\r", 0, end)
    yield Piece(line, left, is_last=True)


def row_end(data: bytes, separator: str) -> int:
    """Return the place after the last line break that ends a row of these whole rows and a part; 0 where there is none.

    Quotes before it open and close as many cells. A quote is of a cell's edge where a separator or a line break is
    beside it; others (5" screen) are characters. Where all quotes together are paired as well, that is the surer end.
    """
    array = np.frombuffer(data, dtype=np.uint8)
    breaks = np.flatnonzero(array == 10)
    breaks = breaks if len(breaks) else np.flatnonzero(array == 13)
    quotes = np.flatnonzero(array == 34)
    if not len(breaks) or not len(quotes):
        return int(breaks[-1]) + 1 if len(breaks) else 0
    edge = np.zeros(256, dtype=bool)
    edge[[10, 13, *separator.encode()]] = True
    opens = (quotes == 0) | edge[array[np.maximum(quotes - 1, 0)]]
    closes = (quotes == len(array) - 1) | edge[array[np.minimum(quotes + 1, len(array) - 1)]]
    even_edges = np.searchsorted(quotes[opens | closes], breaks) % 2 == 0
    even = even_edges & (np.searchsorted(quotes, breaks) % 2 == 0)
    ends = breaks[even if even.any() else even_edges]
    return int(ends[-1]) + 1 if len(ends) else 0


class TextTable(ParquetTable):
    """A CSV file as a Parquet file of text, which lies in a temporary folder for as long as this object lives."""

    def __init__(self, tables: Iterator[pa.Table], origin: str):
        self._folder = tempfile.TemporaryDirectory(prefix="tl-research-")
        path = Path(self._folder.name) / "text.parquet"
        writer: pq.ParquetWriter | None = None
        for table in tables:
            # Without dictionaries and packed lightly, it is no smaller than what is taken for a bomb.
            writer = writer or pq.ParquetWriter(path, table.schema, compression="snappy", use_dictionary=False)
            writer.write_table(table)
        if writer is None:
            raise DataError(f"{origin}: the file has a header but no rows")
        writer.close()
        super().__init__(path, origin)


def text_table(
    path: Path,
    separator: str,
    origin: str,
    *,
    header: bytes,
    most: int,
    parse: Callable[[bytes, bool, bool], pa.Table],
) -> TextTable:
    """Read a file piece by piece.

    Args:
        path: of a file in UTF-8.
        separator: of its cells.
        origin: what to call it in messages.
        header: first row of the file, with its line break, which is put before every later piece.
        most: bytes in which a row must end.
        parse: (bytes with the header, whether they are the file's first and its last) -> columns of text.

    Raises:
        DataError: of a piece; its message says from which line of the file it counts.
    """

    def tables() -> Iterator[pa.Table]:
        for piece in pieces_of(path, separator, origin, most=most):
            is_first = piece.line == 1
            if not piece.data.strip():
                continue
            try:
                yield parse(piece.data if is_first else header + piece.data, is_first, piece.is_last)
            except DataError as error:
                if is_first:
                    raise
                line = piece.line - count_lines(header)
                raise DataError(f"{error} (rows and lines are counted from line {line} of the file)") from None

    return TextTable(tables(), origin)
