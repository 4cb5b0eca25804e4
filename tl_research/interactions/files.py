"""Interactions from files: one row per purchase, click or rating, with the user and the item."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from tl_research.data.readers.paths import local_path
from tl_research.errors import DataError, UserError, nearest

#: Separators of a CSV file, in the order in which they are tried on its first line.
SEPARATORS = ("\t", ",", ";", "|")
#: Numbers at least this large are milliseconds, as seconds they would lie beyond the year 5000.
MILLISECONDS = 1e11
#: The end of a time that says its zone: 2024-01-31T12:00:00Z, 2024-01-31 12:00:00+02:00.
ZONE = re.compile(r":\d\d(\.\d+)?\s*(Z|[+-]\d\d(:?\d\d)?)$")


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a file of interactions.

    Fields:
        user, item: whose and of what.
        time: when; None: the file is not asked for it.
        rating: how much the user liked it; None: an interaction is one, whatever else the file says.

    Raises:
        UserError: two of them are one column.
    """

    user: str
    item: str
    time: str | None = None
    rating: str | None = None

    def __post_init__(self) -> None:
        told: dict[str, str] = {}
        for what, name in self.names().items():
            if name in told:
                raise UserError(f"--{told[name]}, --{what}: both name the column {name!r}; each wants its own")
            told[name] = what

    def names(self) -> dict[str, str]:
        """Return what -> column, of those that there are."""
        found = {"user": self.user, "item": self.item, "time": self.time, "rating": self.rating}
        return {what: name for what, name in found.items() if name is not None}


@dataclass(frozen=True)
class RawLog:
    """One file of interactions, ids as texts.

    Fields:
        origin: the file.
        user, item: (n,) places in `users` and `items`.
        users, items: distinct ids, as texts.
        time: (n,) float64 seconds since 1970, or None.
        rating: (n,) float32, or None.
        remarks: what was left out.
    """

    origin: str
    user: np.ndarray
    item: np.ndarray
    users: np.ndarray
    items: np.ndarray
    time: np.ndarray | None
    rating: np.ndarray | None
    remarks: tuple[str, ...]


def read_log(path: str, columns: Columns) -> RawLog:
    """Read a CSV (comma, semicolon, tab or pipe; packed or not) or Parquet file. Ids are texts, however they look.

    A user's rows with the same item are one interaction: the earliest, without time the first; they are counted.

    Raises:
        DataError: the file, and the row and column of an empty id, of a time that is none, or of a rating that is no
            number; a column that there is not.
    """
    table = _table(path, columns)
    codes, names = {}, {}
    for what in ("user", "item"):
        column = table[columns.names()[what]]
        _refuse_empty(column, path, columns.names()[what])
        encoded = pc.dictionary_encode(column.combine_chunks())
        encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
        codes[what] = encoded.indices.to_numpy().astype(np.int64)
        names[what] = np.asarray(encoded.dictionary.to_pylist(), dtype=object)
    if not len(codes["user"]):
        raise DataError(f"{path}: has no rows")
    time = None if columns.time is None else _seconds(table[columns.time], path, columns.time)
    rating = None if columns.rating is None else _numbers(table[columns.rating], path, columns.rating)
    kept = _first_of_each_pair(codes["user"], codes["item"], time)
    remarks = []
    if repeated := len(codes["user"]) - len(kept):
        which = "the first" if time is None else "the earliest"
        remarks.append(f"{path}: {repeated:,} rows repeat a user with an item; {which} of each is kept")
    parts = (None if each is None else each[kept] for each in (codes["user"], codes["item"], time, rating))
    user, item, time, rating = parts
    return RawLog(path, user, item, names["user"], names["item"], time, rating, tuple(remarks))


def read_ids(path: str, column: str | None) -> np.ndarray:
    """Return a file's column of ids as texts; without a name the file's only column.

    Raises:
        DataError: no such file or column, several columns and no name, or an empty cell.
    """
    if column is None:
        names = _names(path)
        if len(names) != 1:
            raise DataError(
                f"{path}: which column holds the users' ids? name it with --user; it has {', '.join(names)}"
            )
        column = names[0]
    found = _columns(path, [column], ids={column})[column]
    _refuse_empty(found, path, column)
    return np.asarray(found.to_pylist(), dtype=object)


def _table(path: str, columns: Columns) -> pa.Table:
    return _columns(path, list(columns.names().values()), ids={columns.user, columns.item})


def _names(path: str) -> list[str]:
    place = local_path(path)
    if not place.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        names = list(pyarrow.parquet.read_schema(place).names) if _is_parquet(path) else _head(place)[1]
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: cannot be read as a table ({str(error).splitlines()[0]})") from None
    if not any(names):
        raise DataError(f"{path}: the file is empty")
    return names


def _is_parquet(path: str) -> bool:
    return path.lower().endswith((".parquet", ".pq"))


def _head(place: Path) -> tuple[str, list[str]]:
    """Return separator and names of a CSV file's first line."""
    with pa.input_stream(str(place), compression="detect") as stream:
        first = stream.read(1 << 16).split(b"\n", 1)[0].decode("utf-8-sig", errors="replace").rstrip("\r")
    marks = (*SEPARATORS, " ")
    separator = next((mark for mark in marks if mark in first), ",")
    return separator, [name.strip().strip('"') for name in first.split(separator)]


def _columns(path: str, wanted: list[str], *, ids: set[str]) -> pa.Table:
    _refuse_absent(wanted, _names(path), path)
    place = local_path(path)
    try:
        table = pyarrow.parquet.read_table(place, columns=wanted) if _is_parquet(path) else _csv(place, wanted)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: cannot be read as a table ({str(error).splitlines()[0]})") from None
    kinds = [(name, pa.string() if name in ids else table.schema.field(name).type) for name in wanted]
    for name in sorted(ids):
        kind = table.schema.field(name).type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind):
            raise DataError(f"{path}, column {name!r}: holds {kind}, wants one id per row, a text or a number")
    return table.cast(pa.schema(kinds))


def _csv(place: Path, wanted: list[str]) -> pa.Table:
    return pyarrow.csv.read_csv(
        str(place),
        parse_options=pyarrow.csv.ParseOptions(delimiter=_head(place)[0]),
        # As texts: what an id looks like is not asked, and a wrong time is an error of ours, with its row.
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=wanted,
            column_types=dict.fromkeys(wanted, pa.string()),
            strings_can_be_null=True,
            null_values=[""],
        ),
    )


def _refuse_absent(wanted: Sequence[str], there: Sequence[str], path: str) -> None:
    for name in wanted:
        if name not in there:
            raise DataError(f"{path}: has no column {name!r}{nearest(name, there)}")


def _refuse_empty(column: pa.ChunkedArray, path: str, name: str) -> None:
    empty = pc.or_kleene(pc.is_null(column), pc.equal(pc.utf8_trim_whitespace(column), ""))
    empty = pc.fill_null(empty, True).combine_chunks()
    count = pc.sum(empty).as_py() or 0
    if count:
        row = int(np.argmax(empty.to_numpy(zero_copy_only=False))) + 1
        counted = f"{count:,} rows have none" if count > 1 else "the only such row"
        raise DataError(f"{path}, row {row}, column {name!r}: no id ({counted}); leave such rows out of the file")


def _numbers(column: pa.ChunkedArray, path: str, name: str) -> np.ndarray:
    return _converted(column, pa.float64(), path, name, "a number").astype(np.float32)


def _seconds(column: pa.ChunkedArray, path: str, name: str) -> np.ndarray:
    """Return seconds since 1970: numbers as they are (milliseconds are told by their size), dates and times parsed."""
    if pa.types.is_temporal(column.type):
        return _converted(column.cast(pa.timestamp("us")), pa.int64(), path, name, "a time").astype(np.float64) / 1e6
    if pa.types.is_string(column.type):
        first = next((value for value in column.slice(0, 1000).to_pylist() if value), "")
        if not _is_number(first):
            kind = pa.timestamp("us", tz="UTC" if ZONE.search(first) else None)
            moments = _converted(column, kind, path, name, "a number of seconds, or a date as 2024-01-31")
            return moments.astype("datetime64[us]").astype(np.int64) / 1e6
    value = _converted(column, pa.float64(), path, name, "a number of seconds, or a date as 2024-01-31")
    if len(value) and np.median(np.abs(value)) >= MILLISECONDS:
        return value / 1000
    late = np.flatnonzero(np.abs(value) >= MILLISECONDS)
    if len(late):
        raise DataError(
            f"{path}, row {late[0] + 1}, column {name!r}: {value[late[0]]:.0f} can only be milliseconds, and most rows "
            "hold seconds; write one unit"
        )
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _converted(column: pa.ChunkedArray, kind: pa.DataType, path: str, name: str, wants: str) -> np.ndarray:
    try:
        found = column.cast(kind).combine_chunks()
        bad = np.flatnonzero(found.is_null().to_numpy(zero_copy_only=False))
    except pa.ArrowInvalid:
        found, bad = None, [_first_bad(column, kind)]
    if found is not None and pa.types.is_floating(kind) and not len(bad):
        bad = np.flatnonzero(~np.isfinite(found.to_numpy(zero_copy_only=False)))
    if len(bad):
        value = column[int(bad[0])].as_py()
        got = "no value" if value is None else repr(value)
        raise DataError(f"{path}, row {int(bad[0]) + 1}, column {name!r}: got {got}, wants {wants}")
    return found.to_numpy(zero_copy_only=False)


def _first_bad(column: pa.ChunkedArray, kind: pa.DataType) -> int:
    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            column.slice(low, middle - low).cast(kind)
            low = middle
        except pa.ArrowInvalid:
            high = middle
    return low


def _first_of_each_pair(user: np.ndarray, item: np.ndarray, time: np.ndarray | None) -> np.ndarray:
    pair = user * (item.max() + 1) + item
    if time is None:
        return np.sort(np.unique(pair, return_index=True)[1])
    order = np.lexsort((np.arange(len(pair)), time, pair))
    first = np.append(True, pair[order][1:] != pair[order][:-1])
    return np.sort(order[first])
