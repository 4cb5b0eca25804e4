"""Which rows of the new file belong together, so that a split keeps them on one side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tl_research.data.audit.coincidence import are_copies
from tl_research.data.audit.columns import table_of
from tl_research.data.audit.overlap import feature_keys
from tl_research.data.domain import Domain
from tl_research.errors import ConfigError, nearest


def groups_of(domain: Domain, column: str | None = None, *, ignored: Sequence[str | int] = ()) -> np.ndarray:
    """Return (n,) int64: rows of one number belong together.

    Rows of equal features do, where they are copies and not equal by chance (`are_copies`); and with `column` all rows
    of one of its values, and whatever hangs together through both. A row without a value in `column` is linked by its
    features alone.

    Args:
        domain: its labels are not read.
        column: of its table.
        ignored: columns that number the rows, and so hide that two are equal.

    Raises:
        ConfigError: there is no such column.
    """
    ignored = [*ignored, *filter(None, [column])]
    keys = feature_keys(domain, ignored)
    links = []
    if are_copies(domain, keys, ignored):
        links.append(pd.factorize(keys)[0])
    if column is not None:
        links.append(pd.factorize(values_of(domain, column))[0])
    return _linked(links, len(domain))


def values_of(domain: Domain, column: str) -> pd.Series:
    """Return the values of the column that `--group` names.

    It may be one that is no feature, such as an identifier.

    Raises:
        ConfigError: there is no such column.
    """
    tables = [table for table in (table_of(domain), domain.aside) if table is not None]
    known = [str(name) for table in tables for name in table.columns]
    if column not in known:
        raise ConfigError(f"--group: {domain.origin or domain.name} has no column {column!r}{nearest(column, known)}")
    return next(table[column] for table in tables if column in table.columns)


def _linked(links: Sequence[np.ndarray], rows: int) -> np.ndarray:
    """Number the connected parts of rows that share a code (>= 0) in any of `links`."""
    ends, other = [], []
    first = rows
    for codes in links:
        known = np.flatnonzero(codes >= 0)
        ends.append(known)
        other.append(first + codes[known])
        first += int(codes.max(initial=-1)) + 1
    if not ends:
        return np.arange(rows)
    edges = np.concatenate(ends), np.concatenate(other)
    graph = coo_array((np.ones(len(edges[0]), dtype=np.int8), edges), shape=(first, first))
    found = connected_components(graph, directed=False)[1][:rows]
    return pd.factorize(found)[0].astype(np.int64)
