"""Files of ratings without names of columns: user, item and rating, each a number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tl_research.errors import DataError

COLUMNS = ("user", "item", "rating")


def read_ratings(path: str | Path, *, least: float, most: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read a file with a user, an item and a rating per line, separated by tabs.

    Args:
        path: of the file.
        least, most: ends of the scale.

    Returns:
        user and item, (n,) int64, and rating, (n,) float32.

    Raises:
        DataError: the file, and the row and column of a value that is missing or no number, of a negative or broken id,
            or of a rating outside the scale; or the second row of a user with an item.
    """
    try:
        table = pd.read_csv(path, sep="\t", header=None, dtype=str, keep_default_na=False)
    except (OSError, pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise DataError(f"{path}: cannot be read as a table ({str(error).splitlines()[0]})") from None
    if table.shape[1] != len(COLUMNS):
        raise DataError(f"{path}: {table.shape[1]} columns, wants {len(COLUMNS)}: {', '.join(COLUMNS)}")
    wants = ("a whole number from 0 on", "a whole number from 0 on", f"a rating from {least:g} to {most:g}")
    found = []
    for place, (name, want) in enumerate(zip(COLUMNS, wants, strict=True)):
        value = pd.to_numeric(table[place], errors="coerce").to_numpy(dtype=np.float64)
        fits = (value >= least) & (value <= most) if name == "rating" else (value >= 0) & (value == np.floor(value))
        if not fits.all():
            row = int((~fits).argmax())
            text = table[place].iloc[row]
            got = repr(text) if text.strip() else "no value"
            raise DataError(f"{path}, row {row + 1}, column {name!r}: got {got}, wants {want}")
        found.append(value)
    user, item = (part.astype(np.int64) for part in found[:2])
    twice = pd.DataFrame({"user": user, "item": item}).duplicated().to_numpy()
    if twice.any():
        row = int(twice.argmax())
        raise DataError(f"{path}, row {row + 1}: user {user[row]} has rated item {item[row]} before")
    return user, item, found[2].astype(np.float32)
