"""Frozen negatives on disk: one line per held-out row, its user, its item and its negatives, separated by tabs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tl_research.errors import DataError
from tl_research.interactions.sampled import Negatives


def negatives_text(frozen: Negatives, users: Sequence[str], items: Sequence[str]) -> str:
    """Return the file's text, in ids.

    Args:
        frozen: rows in codes.
        users, items: ids by code.
    """
    lines = (
        "\t".join([users[user], items[item], *(items[code] for code in negative)])
        for user, item, negative in zip(frozen.user, frozen.item, frozen.negative, strict=True)
    )
    return "".join(f"{line}\n" for line in lines)


def read_negatives(path: str | Path, users: Sequence[str], items: Sequence[str]) -> Negatives:
    """Read a file of `negatives_text`.

    Args:
        path: of the file.
        users, items: ids by code.

    Raises:
        DataError: no such file or an empty one; or the line and the id that is unknown; or a line with another number
            of negatives than the first, or with one negative twice.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return parsed_negatives(str(path), lines, _places(users), _places(items))


def parsed_negatives(
    origin: str, lines: Sequence[Sequence[str]], users: dict[str, int], items: dict[str, int]
) -> Negatives:
    """Return the rows of lines (user, item, negative, negative, ...) of ids.

    Args:
        origin: what errors name.
        lines: of ids.
        users, items: id -> code.

    Raises:
        DataError: as `read_negatives` says.
    """
    if not lines:
        raise DataError(f"{origin}: has no rows")
    width = max(3, len(lines[0]))
    codes = np.empty((len(lines), width), dtype=np.int64)
    for row, ids in enumerate(lines):
        where = f"{origin}, line {row + 1}"
        if len(ids) != width:
            raise DataError(f"{where}: {max(0, len(ids) - 2)} negatives, wants {width - 2}")
        for column, text in enumerate(ids):
            known, what = (items, "item") if column else (users, "user")
            if text not in known:
                raise DataError(f"{where}, column {column + 1}: no {what} {text!r} in the data")
            codes[row, column] = known[text]
        if len(set(codes[row, 2:])) < width - 2:
            raise DataError(f"{where}: a negative stands twice")
    return Negatives(codes[:, 0], codes[:, 1], codes[:, 2:])


def _places(ids: Sequence[str]) -> dict[str, int]:
    return {name: code for code, name in enumerate(ids)}
