"""Columns of a table that hold texts: which they are, and all of a row's as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tl_research.data.readers.columns import as_text

#: A column holds texts from this many values on, where more than this share differ, of so many words in the mean.
FEWEST_ROWS, DISTINCT, WORDS = 50, 0.5, 3.0
#: Distinct values whose words are counted.
LOOKED_AT = 2_000


def is_free_text(values: np.ndarray) -> bool:
    """Whether the values (n,) of a column, without the missing ones, are texts rather than names of kinds of rows."""
    if len(values) < FEWEST_ROWS:
        return False
    distinct = pd.unique(values)
    if len(distinct) <= DISTINCT * len(values):
        return False
    some = distinct[:: max(1, len(distinct) // LOOKED_AT)]
    return float(np.mean([len(str(text).split()) for text in some])) >= WORDS


def joined(table: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Return each row's texts, a line break between those of different columns; "" where it has none."""
    parts = [as_text(table[name]) for name in names]
    return ["\n".join(text for text in row if text) for row in zip(*parts, strict=True)]
