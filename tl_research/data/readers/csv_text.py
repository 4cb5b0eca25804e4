"""The text of a CSV file before it is parsed: encoding, separator, and quotes that open and do not close."""

from __future__ import annotations

import codecs
import csv
import io
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tl_research.data.readers.paths import kind_of
from tl_research.errors import DataError

SEPARATORS = (",", ";", "\t", "|")
SEPARATOR_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes"}
#: pyarrow counts the bytes of a block in 32 bits.
LARGEST_CSV = 2**31 - 2**16
#: What a refusal of a larger one advises.
WAY_OUT = "save it as Parquet, or in parts"
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LINE = re.compile(rb"[^\r\n]+")
_SEP_LINE = re.compile(rb'\A[\r\n]*"?sep=([\t -!#-~])"?[ ]*(?:\r\n|\n|\r)', re.IGNORECASE)
_HEAD = 1 << 16


def as_utf8(data: bytes | bytearray, origin: str, remarks: list[str]) -> bytes | bytearray:
    """Return the bytes as UTF-8 without a byte-order mark; UTF-16 and UTF-32 are known by theirs.

    Raises:
        DataError: empty, too large, another kind of file, or another encoding, whose line is named.
    """
    if len(data) > LARGEST_CSV:
        raise DataError(f"{origin}: a CSV file of more than 2 GiB; {WAY_OUT}")
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            try:
                data = data.decode(encoding).encode()
            except UnicodeError as error:
                name = encoding.upper()
                raise DataError(
                    f"{origin}: not {name} text as its first bytes say ({error}); save it as UTF-8"
                ) from None
            remarks.append(f"{origin}: is {encoding.upper()} text and was read so")
    data = data.removeprefix(codecs.BOM_UTF8)
    if not data.strip():
        raise DataError(f"{origin}: the file is empty")
    if kind := kind_of(data):
        kind += "; give it the ending .csv.gz" if kind == "a gzip file" else ""
        raise DataError(
            f"{origin}: not a CSV file (it holds binary data: {kind})"
            if b"\0" in data[:4096]
            else f"{origin}: not a CSV file (it is {kind})"
        )
    if (at := data.find(b"\0")) >= 0:
        raise DataError(f"{origin}: {_what_the_nul_says(data, at)}")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{origin}: line {_line_of(data, error.start)} is not UTF-8 text (byte {error.start}: "
            f"{bytes(data[error.start : error.start + 1])!r}); save it as UTF-8"
        ) from None
    return data


def is_large(path: Path) -> bool:
    """Return whether a file is too large to be parsed at once."""
    return path.stat().st_size > LARGEST_CSV


class Start(NamedTuple):
    """How a large file begins.

    Fields:
        header: its first row, with its line break.
        separator: of its cells.
    """

    header: bytes
    separator: str


def start_of(path: Path, origin: str, separator: str | None = None) -> Start:
    """Return the header and the separator of a large file.

    Raises:
        DataError: UTF-16 or UTF-32, which is not read in pieces, or a header that does not end.
    """
    with open(path, "rb") as stream:
        head = stream.read(1 << 20)
    if encoding := next((name for mark, name in _BOMS if head.startswith(mark)), None):
        raise DataError(f"{origin}: a CSV file of more than 2 GiB in {encoding.upper()}; save it as UTF-8")
    head, named = without_sep_line(head.removeprefix(codecs.BOM_UTF8), origin, [])
    head = bytes(head).lstrip(b"\r\n")
    separator = separator or named or find_separator(head)
    for at in (found.end() for found in re.finditer(rb"\r\n|\n|\r", head)):
        if b'"' not in head[:at] or _quotes_alternate(head[:at], separator):
            return Start(head[:at], separator)
    raise DataError(f"{origin}: the header does not end within {len(head):,} bytes")


def without_sep_line(data: bytes | bytearray, origin: str, remarks: list[str]) -> tuple[bytes | bytearray, str | None]:
    """Take off Excel's first line `sep=;` and return the separator that it names, None where there is no such line."""
    found = _SEP_LINE.match(data)
    if found is None:
        return data, None
    separator = found[1].decode("utf-8", "replace")
    remarks.append(f"{origin}: its first line, sep={separator}, names the separator and is no row")
    return data[found.end() :], separator


def find_separator(data: bytes | bytearray) -> str:
    """Return which of comma, semicolon, tab and pipe separates.

    It is the one that stands in the header most often outside quotes; another one where that one splits most of the
    first rows into another number of cells than the header, and the other does not.
    """
    text = bytes(data[:_HEAD]).decode("utf-8", "replace")
    whole = len(data) <= _HEAD
    counted = []
    for place, separator in enumerate(SEPARATORS):
        try:
            records = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if row]
        except csv.Error:
            continue
        records = records if whole else records[:-1]
        if records and len(records[0]) > 1:
            rows = records[1:101]
            fitting = sum(len(row) == len(records[0]) for row in rows) / len(rows) if rows else 1.0
            counted.append((fitting >= 0.5, len(records[0]), fitting, -place, separator))
    return max(counted)[-1] if counted else SEPARATORS[0]


def mend_quotes(data: bytes | bytearray, separator: str, origin: str, remarks: list[str]) -> bytes | bytearray:
    """Return the text with the blanks between a separator and a quoted cell taken off.

    A quote opens a cell where it is the cell's first character; elsewhere it is a character like others (5" screen).

    Raises:
        DataError: a quote that opens and does not close, or text after one that closes; the row is named.
    """
    if b'"' not in data or _quotes_alternate(data, separator):
        return data
    mark = separator.encode()
    closing = re.compile(rb'[^"]*(?:""[^"]*)*')
    after = re.compile(rb"[^\r\n" + re.escape(mark) + rb"]*")
    starts = (*mark, 10, 13)
    pieces, kept, cells, at = [], 0, [], 0
    while (start := data.find(b'"', at)) >= 0:
        before = start
        while before > 0 and data[before - 1] == 32:
            before -= 1
        if before > 0 and data[before - 1] not in starts:
            at = start + 1
            continue
        end = closing.match(data, start + 1).end()
        closed = end < len(data)
        tail = after.match(data, end + 1)[0] if closed else b""
        if before < start and (not closed or tail.strip(b" ") or b"\n" in data[start:end] or b"\r" in data[start:end]):
            at = start + 1  # a quote after blanks, in a cell that is not quoted as a whole
            continue
        if not closed or tail.strip(b" "):
            raise DataError(_unclosed(data, start, end, bytes(tail), cells, origin))
        if before < start:
            pieces.append(data[kept:before])
            kept = start
        if b"\n" in data[start:end] or b"\r" in data[start:end]:
            cells.append((start, end))
        at = end + 1
    if not pieces:
        return data
    remarks.append(f"{origin}: {len(pieces)} quoted cells have blanks before the quote, which were left off")
    return b"".join([*pieces, data[kept:]])


def count_lines(data: bytes | bytearray) -> int:
    """Number of lines between the first and the last that is not empty."""
    data = data.strip(b"\r\n")
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n") + 1


def _quotes_alternate(data: bytes | bytearray, separator: str) -> bool:
    """Whether every quote opens or closes a cell, or is doubled inside one: then none is out of place."""
    array = np.frombuffer(data, dtype=np.uint8)
    at = np.flatnonzero(array == 34)
    if len(at) % 2:
        return False
    edge = np.zeros(256, dtype=bool)
    edge[[10, 13, *separator.encode()]] = True
    opening, closing = at[::2], at[1::2]
    opens = (opening == 0) | edge[array[np.maximum(opening - 1, 0)]]
    closes = (closing == len(array) - 1) | edge[array[np.minimum(closing + 1, len(array) - 1)]]
    doubled = closing[:-1] + 1 == opening[1:]
    return bool((opens[0] and closes[-1]) and (opens[1:] | doubled).all() and (closes[:-1] | doubled).all())


def _unclosed(data, start: int, end: int, tail: bytes, cells: list[tuple[int, int]], origin: str) -> str:
    # Cells before it that hold line breaks count as one line each.
    text, kept = [], 0
    for cell_start, cell_end in cells:
        text.append(data[kept:cell_start])
        kept = cell_end
    text = b"".join([*text, data[kept:start]])
    inside = bool(text) and text[-1] not in (10, 13)
    row = len(_LINE.findall(text)) - inside
    where = f"{origin}, {f'row {row}' if row else 'the header'} (line {_line_of(data, start)})"
    begins = bytes(data[start : start + 25]).split(b"\n")[0].decode("utf-8", "replace")
    lines = count_lines(data[start:end]) - 1
    advice = "close it, take it off, or write two in its place where it belongs to a quoted text"
    if end >= len(data):
        swallowed = f"; {lines} lines up to the end of the file would be one cell" if lines else ""
        return f"{where}: the quote that opens the cell {begins!r} is never closed{swallowed}; {advice}"
    where_closed = f" in line {_line_of(data, end)}" if lines else ""
    rest = tail[:25].decode("utf-8", "replace")
    return (
        f"{where}: the quote that opens the cell {begins!r} is closed{where_closed} with the text {rest!r} directly "
        f"after it; {advice}"
    )


def _line_of(data: bytes | bytearray, position: int) -> int:
    before = data[:position]
    return before.count(b"\n") + before.count(b"\r") - before.count(b"\r\n") + 1


def _what_the_nul_says(data: bytes | bytearray, at: int) -> str:
    head = np.frombuffer(bytes(data[:2000]), dtype=np.uint8)
    shares = [float((head[first::2] == 0).mean()) if len(head) > 1 else 0.0 for first in (0, 1)]
    if max(shares) > 0.4 and min(shares) < 0.1:
        return "is UTF-16 text without a byte-order mark, it seems; save it as UTF-8"
    return f"not a CSV file (it holds binary data: a NUL byte in line {_line_of(data, at)})"
