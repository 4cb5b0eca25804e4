"""Columns of one table alone: which hold numbers, which hold categories, and one spelling for each value.

A number is float64 with nan where missing; a category is an object column of text with None where missing.
Rows in messages count from 1 and leave the header out. Several files of one run are read by a `schema` instead.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from tl_research.data.readers.cells import MISSING, Cells
from tl_research.data.readers.deciding import decide
from tl_research.data.readers.marks import Wish
from tl_research.data.readers.rules import LARGEST, ColumnRule


def as_text(column: pd.Series, missing: Iterable[str] = ()) -> np.ndarray:
    """Spell every value as text, whatever type the file gave it: 1, 1.0, '1' and '1.0' agree; None where missing.

    Args:
        column: raw values.
        missing: spellings that mean "no value" beside the empty cell.
    """
    return Cells(column, str(column.name)).text(missing)


def as_number(column: pd.Series, origin: str) -> np.ndarray:
    """Read every value as float64, nan where missing; words such as NA and null are missing.

    Raises:
        DataError: naming the row of the first value that is text, infinite, or too large for a 32-bit float.
    """
    return ColumnRule("number").apply(Cells(column, origin)).to_numpy()


def infer(
    column: pd.Series, origin: str, *, categorical: bool = False, missing: Iterable[str] = (), typed: bool = False
) -> pd.Series:
    """Decide whether a column holds numbers or categories, and spell it so; see `deciding.decide`.

    Args:
        column: raw column; text as in a CSV file, or typed as in a Parquet file.
        origin: file, for messages.
        categorical: take it for a category whatever it looks like.
        missing: spellings that mean "no value" beside the empty cell.
        typed: whether the file says that a text is a text.

    Raises:
        DataError: numbers and text are mixed (the first offending row is named), a number that is infinite or too
            large for a 32-bit float, a date, marks that can be read in two ways, or values that are neither numbers
            nor text.
    """
    cells = Cells(column, origin, typed=typed)
    rule, _ = decide([cells], Wish("category") if categorical else None, missing)
    return rule.apply(cells)


def infer_types(
    frame: pd.DataFrame,
    origin: str,
    *,
    categorical: tuple[str, ...] = (),
    missing: Iterable[str] = (),
    typed: bool = False,
) -> pd.DataFrame:
    """Apply `infer` to every column; rows are numbered anew from 0."""
    missing = tuple(missing)
    columns = {
        name: infer(frame[name], origin, categorical=name in categorical, missing=missing, typed=typed)
        for name in frame.columns
    }
    return pd.DataFrame(columns).reset_index(drop=True) if columns else pd.DataFrame(index=range(len(frame)))


__all__ = ["LARGEST", "MISSING", "as_number", "as_text", "infer", "infer_types"]
