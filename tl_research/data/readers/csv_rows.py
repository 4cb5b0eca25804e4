"""Rows of a parsed CSV file against its lines: rows that one cell has swallowed, a header that is a row, empty rows."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tl_research.errors import DataError

_BREAK = re.compile(r"\r\n|\n|\r")
_BREAK_IN_ARROW = r"\r\n|\n|\r"
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_NO_VALUE = frozenset(("", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "-", "?"))
#: What a line begins with that is no header.
COMMENT_MARKS = ("#", "//")
#: Rows that the kind of a column is judged by.
_SAMPLE = 2000
#: A column of at most this many values is one of categories.
_FEW = 20
#: In a table of one column any text may be a cell: more lines than this in at most `_ODD_CELLS` of them is refused.
_MANY_LINES, _ODD_CELLS = 10, 2


def refuse_swallowed_rows(table: pa.Table, separator: str, origin: str) -> tuple[int, int]:
    """Refuse cells whose line breaks divide them into rows of this very table: a quote is not closed in its place.

    A cell in column c of n columns that has swallowed rows has n-1-c separators in its first line, n-1 in each line
    between, and c in its last; and what stands between the separators is of the kind of its columns (a number, one of
    few values, a code of a certain form). A text with line breaks is neither.

    Returns:
        How many cells hold line breaks, and how many line breaks.

    Raises:
        DataError: names the row and column of such a cell.
    """
    cells = breaks = 0
    kinds = _Kinds(table)
    for place in range(table.num_columns):
        column = table.column(place)
        counts = pc.count_substring_regex(column, _BREAK_IN_ARROW).to_numpy()
        rows = np.flatnonzero(counts)
        if not len(rows):
            continue
        cells, breaks = cells + len(rows), breaks + int(counts[rows].sum())
        for row in rows:
            lines = [line for line in _BREAK.split(column[int(row)].as_py()) if line]
            if _has_swallowed(lines, place, separator, len(rows), kinds):
                raise DataError(
                    f"{origin}, row {row + 1}, column {table.column_names[place].strip()!r}: one cell holds "
                    f"{counts[row] + 1} lines, which look like rows of the table; close the quote that opens the cell "
                    f"({lines[0][:25]!r}), or take it off; where the cell is meant so, save the table as Parquet"
                )
    return cells, breaks


def refuse_missing_header(table: pa.Table, origin: str) -> None:
    """Raise `DataError` where the first line is a row: each of its cells is of the kind of the cells below it.

    A comment is no header either, where the names of the columns stand in the row below it.

    Names that are numbers in order (0, 1, 2; 2020, 2019) are a header.
    """
    names = [name.strip() for name in table.column_names]
    if _are_numbered(names):
        return
    kinds = _Kinds(table)
    if names[0].startswith(COMMENT_MARKS):
        others = _Kinds(table.slice(1))
        below = [others.fits(column[0].as_py(), place) for place, column in enumerate(table.columns)]
        if False in below and True not in below:
            raise DataError(f"{origin}: the first line ({names[0]!r}, ...) is a comment; take it off the file")
    said = [kinds.fits(name, place) for place, name in enumerate(names)]
    if False in said or said.count(True) < min(2, len(said)):
        return
    shown = ", ".join(repr(name) for name in names[:4]) + (", ..." if len(names) > 4 else "")
    raise DataError(
        f"{origin}: the first line ({shown}) looks like a row, not like names of columns; write a line of names on top"
    )


def without_empty_rows(table: pa.Table, origin: str, remarks: list[str]) -> pa.Table:
    """Leave out the rows at the end in which no cell holds anything; count those in between.

    Raises:
        DataError: no cell of any row holds a value.
    """
    empty = np.ones(table.num_rows, dtype=bool)
    for column in table.columns:
        rows = np.flatnonzero(empty)
        if not len(rows):
            return table
        if len(rows) * 4 < table.num_rows:
            column = column.take(pa.array(rows))
            empty[rows] = pc.equal(pc.utf8_trim_whitespace(column), "").to_numpy()
        else:
            empty &= pc.equal(pc.utf8_trim_whitespace(column), "").to_numpy()
    if empty.all():
        raise DataError(f"{origin}: no cell of its {table.num_rows} rows holds a value")
    last = table.num_rows - int((~empty[::-1]).argmax())
    if last < table.num_rows:
        remarks.append(f"{origin}: {table.num_rows - last} rows at the end hold no value and are left out")
    if between := int(empty[:last].sum()):
        row = int(empty.argmax()) + 1
        remarks.append(f"{origin}: {between} rows between others hold no value (the first is row {row})")
    return table.slice(0, last)


def _has_swallowed(lines: list[str], place: int, separator: str, cells: int, kinds: _Kinds) -> bool:
    n = len(kinds)
    wanted = [n - 1 - place] + [n - 1] * (len(lines) - 2) + [place]
    if len(lines) < 2 or [line.count(separator) for line in lines] != wanted:
        return False
    if n == 1:
        return len(lines) > _MANY_LINES and cells <= _ODD_CELLS
    said = []
    for line, first in zip(lines, [place] + [0] * (len(lines) - 1), strict=True):
        for offset, value in enumerate(line.split(separator)):
            said.append(kinds.fits(value, first + offset))
    said = [fits for fits in said if fits is not None]
    if said:
        return sum(said) >= len(said) / 2
    # All columns are free text: the separators alone must say it.
    return len(lines) > (2 if n > 2 else 5)


class _Kinds:
    """What the first rows of each column hold: numbers, few values, codes of one form, or anything."""

    def __init__(self, table: pa.Table):
        self._table = table
        self._known: dict[int, object] = {}

    def __len__(self) -> int:
        return self._table.num_columns

    def fits(self, value: str, place: int) -> bool | None:
        """Whether a value is of the kind of a column's others; None where these are of no kind, or it is missing."""
        if place not in self._known:
            sample = self._table.column(place).slice(0, _SAMPLE).to_pylist()
            self._known[place] = _kind([text for value in sample if (text := value.strip()) and not _is_missing(text)])
        kind, value = self._known[place], value.strip()
        if kind is None or _is_missing(value):
            return None
        if isinstance(kind, frozenset):
            return value in kind
        return _form(value) == kind if isinstance(kind, str) else kind.fullmatch(value) is not None


def _kind(present: list[str]) -> re.Pattern | frozenset[str] | str | None:
    present = [value for value in present if not _BREAK.search(value)]
    if not present:
        return None
    if sum(_NUMBER.fullmatch(value) is not None for value in present) >= 0.9 * len(present):
        return _NUMBER
    few = frozenset(present)
    if len(few) <= _FEW and len(few) * 2 <= len(present):
        return few
    form = _form(present[0])
    same = sum(_form(value) == form for value in present)
    return form if "9" in form and same >= 0.9 * len(present) else None


def _is_missing(value: str) -> bool:
    return value.lower() in _NO_VALUE


def _form(value: str) -> str:
    """The shape of a code: `AB-1234` is `A-9`."""
    return re.sub(r"[^\W\d_]+", "A", re.sub(r"\d+", "9", value))


def _are_numbered(names: list[str]) -> bool:
    """Whether names are numbers in order, as of columns that were never named: 0, 1, 2; 2020, 2019; 400.5, 401."""
    if not all(_NUMBER.fullmatch(name) for name in names):
        return False
    steps = np.diff([float(name) for name in names])
    if len(names) >= 5:
        return bool((steps > 0).all() or (steps < 0).all())
    whole = all(name.isdigit() for name in names)
    return whole and len(steps) > 0 and bool((steps == steps[0]).all()) and (len(names) > 2 or abs(steps[0]) == 1)
