"""Categories of many values: the most frequent are kept and all others are one, so that no table grows without bound.

No label is read. A value that is not kept, and one that no file has, is read as `OTHER`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

#: How all values that are not kept are spelled.
OTHER = "(other)"
#: A column of more values than this keeps so many at most.
MOST_VALUES = 200
#: Columns of numbers and values of categories that a table has at most; columns of `FEW_VALUES` values or fewer stay.
MOST_COLUMNS = 1000
FEW_VALUES = 20
#: A column of more than this share of distinct values, in so many rows, names rows and is left to the transform.
NEARLY_UNIQUE, FEWEST_ROWS = 0.9, 50


def values_to_keep(categories: Mapping[str, Sequence[pd.Series]], numbers: int) -> dict[str, tuple[str, ...]]:
    """Return, for each column that has too many values, those that it keeps, the most frequent first.

    Frequent is what has a large share of the rows in the mean over the domains, so that a large old file does not hide
    the values of a small new one. A value of a single row is never kept.

    Args:
        categories: by name, the column in each domain: objects, None where missing.
        numbers: number of columns of numbers beside them.
    """
    counts = {name: _counts(columns) for name, columns in categories.items()}
    counts = {name: found for name, found in counts.items() if found is not None}
    sizes = {name: len(shares) for name, (shares, _) in counts.items()}
    most = _bound(list(sizes.values()), MOST_COLUMNS - numbers)
    kept = {}
    for name, (shares, rows) in counts.items():
        if sizes[name] > most:
            frequent = shares[rows > 1].sort_index().sort_values(ascending=False, kind="stable")
            kept[name] = tuple(map(str, frequent.index[: most - 1]))
    return kept


def _counts(columns: Sequence[pd.Series]) -> tuple[pd.Series, pd.Series] | None:
    """Mean share, and rows, of each value; None where the values name rows."""
    sizes = [column.value_counts() for column in columns]
    rows = pd.concat(sizes).groupby(level=0).sum()
    total = int(rows.sum())
    if total >= FEWEST_ROWS and len(rows) > NEARLY_UNIQUE * total:
        return None
    shares = pd.concat([size / max(1, size.sum()) for size in sizes]).groupby(level=0).sum() / len(sizes)
    return shares, rows.reindex(shares.index)


def _bound(sizes: list[int], budget: int) -> int:
    """The most values that every column may have so that together they have no more than the budget."""
    most = MOST_VALUES
    while most > FEW_VALUES and np.minimum(sizes, most).sum() > budget:
        most -= 1
    return most


def with_other(values: pd.Series, kept: tuple[str, ...]) -> pd.Series:
    """Return a column in which every value that is not kept is `OTHER`; a missing one stays missing."""
    return values.where(values.isin(kept) | values.isna(), OTHER)
