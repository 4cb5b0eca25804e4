"""Columns of numbers that name a row instead of describing it: identifiers, and the index that pandas writes."""

from __future__ import annotations

import re
from collections.abc import Collection

import numpy as np
import pandas as pd

from tl_research.data.audit.columns import Column, column_of, columns, some_rows
from tl_research.data.audit.words import columns_to_drop
from tl_research.data.domain import Domain

#: Rows from which on distinct whole numbers are no chance.
FEWEST_ROWS = 20
#: The index of a table that was written with it.
_INDEX = re.compile(r"Unnamed: ?\d+|index|level_\d+|__index_level_\d+__|row_?(?:names?|num(?:ber)?|id|nr)", re.I)
_ID = re.compile(r"(?:^|[\W_])(?:id|ids|uid|guid|uuid|pk|key|nr|no|num|number)$", re.I)
_ID_CAMEL = re.compile(r"[a-z](?:Id|ID)$")


def identifiers(domains: dict[str, Domain], left_out: Collection[str] = ()) -> tuple[list[str], list[str | int]]:
    """Name the columns of whole numbers that number the rows, or that are called identifiers and hardly ever repeat.

    Args:
        domains: by name.
        left_out: columns of which it is known, and of which nothing is said.

    Returns:
        Sentences; and the names of the columns, by which rows that are the same cannot be known.
    """
    found: dict[str | int, str] = {}
    where: dict[str | int, list[str]] = {}
    for domain in domains.values():
        for column in columns(domain, some_rows(len(domain))):
            if column.name not in found and column.is_number and (why := _why(column, domain)):
                found[column.name] = why
                where[column.name] = [domain.origin or domain.name]
    remarks = [
        f"column {name!r} {why} ({', '.join(where[name])}): it is used as a number, though an identifier says nothing "
        f"of a new row; to leave it out: {columns_to_drop([name])}"
        for name, why in found.items()
        if name not in left_out
    ]
    return remarks, list(dict.fromkeys([*found, *left_out]))


def _why(sample: Column, domain: Domain) -> str:
    if not _is_whole(sample.values) or len(pd.unique(sample.values)) < 0.5 * len(sample.values):
        return ""
    # The sample says that it may be one; all rows say that it is.
    values = column_of(domain, sample.name).values
    distinct = len(pd.unique(values))
    if not _is_whole(values):
        return ""
    steps = np.diff(values)
    if distinct == len(values) and ((steps > 0).all() or (steps < 0).all()):
        kind = "numbers the rows" if (np.abs(steps) == 1).all() else "rises from row to row" if steps[0] > 0 else ""
        return f"{kind or 'falls from row to row'}, another whole number in each"
    if distinct == len(values) and values.max() - values.min() == len(values) - 1:
        return "numbers the rows, in another order"
    name = sample.name if isinstance(sample.name, str) else ""
    named = _INDEX.fullmatch(name) or _ID_CAMEL.search(name) or _ID.search(name)
    if named and distinct >= 0.5 * len(values):
        return f"is called an identifier and has {distinct:,} distinct whole numbers in {len(values):,} rows"
    return ""


def _is_whole(values: np.ndarray) -> bool:
    return len(values) >= FEWEST_ROWS and bool(np.isfinite(values).all()) and bool((values == np.round(values)).all())
