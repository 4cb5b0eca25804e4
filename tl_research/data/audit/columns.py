"""The columns of a domain as the audit looks at them: numbers, or texts, by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from tl_research.data.domain import Domain
from tl_research.data.modalities import Modalities

#: Rows that a look at a column reads; of more, as many are drawn.
ROWS = 20_000
#: Columns of a matrix that are looked at one by one; of a wider or a sparse one, those that correlate with the label.
MATRIX_COLUMNS = 500


@dataclass(frozen=True)
class Column:
    """One column.

    Fields:
        name: of a table; the position in a matrix.
        values: (n,) float64 with nan where missing; or objects with None where missing.
    """

    name: str | int
    values: np.ndarray

    @property
    def is_number(self) -> bool:
        """Whether the values are float64, rather than objects."""
        return self.values.dtype != object

    @property
    def missing(self) -> np.ndarray:
        """(n,) bool."""
        return np.isnan(self.values) if self.is_number else pd.isna(self.values)


def table_of(domain: Domain) -> pd.DataFrame | None:
    """Return the domain's table: its inputs, or a part of them; None where there is none."""
    inputs = domain.inputs.table if isinstance(domain.inputs, Modalities) else domain.inputs
    return inputs if isinstance(inputs, pd.DataFrame) else None


def columns(domain: Domain, rows: np.ndarray | None = None) -> Iterator[Column]:
    """Yield the columns of a table or of a matrix, of some rows or of all; images and wide matrices have none.

    Of a date that became several columns only the first, its day, is looked at.
    """
    table = table_of(domain)
    if table is not None:
        origin = {} if domain.schema is None else domain.schema.origin_of_outputs()
        for name in table.columns:
            if origin.get(name, name) != name:
                continue
            yield Column(name, _plain(table[name] if rows is None else table[name].iloc[rows]))
        return
    inputs = domain.inputs
    if not isinstance(inputs, np.ndarray) or inputs.ndim != 2 or inputs.shape[1] > MATRIX_COLUMNS:
        return
    for position in range(inputs.shape[1]):
        values = inputs[:, position] if rows is None else inputs[rows, position]
        yield Column(position, np.asarray(values, dtype=np.float64))


def column_of(domain: Domain, name: str | int) -> Column:
    """Return one column whole."""
    table = table_of(domain)
    if table is not None:
        return Column(name, _plain(table[name]))
    return Column(name, np.asarray(domain.inputs[:, name], dtype=np.float64))


def correlated_columns(domain: Domain, rows: np.ndarray, label: np.ndarray) -> Iterator[Column]:
    """Yield those columns of a wide or a sparse matrix whose correlation with a column of `label` is above one half.

    Args:
        domain: whose inputs are a matrix; any other has no such column.
        rows: numbers of the rows to look at.
        label: (len(rows), k) numbers.
    """
    inputs = domain.inputs
    is_sparse = sp.issparse(inputs)
    if not is_sparse and (not isinstance(inputs, np.ndarray) or inputs.ndim != 2 or inputs.shape[1] <= MATRIX_COLUMNS):
        return
    part = sp.csr_matrix(inputs[rows], dtype=np.float64)
    y = (label - label.mean(axis=0)) / np.maximum(label.std(axis=0), 1e-300)
    mean = np.asarray(part.mean(axis=0)).ravel()
    variance = np.asarray(part.multiply(part).mean(axis=0)).ravel() - mean**2
    varies = variance > 1e-12 * np.maximum(mean**2, 1e-300)
    covariance = np.abs(part.T @ y / len(rows)).max(axis=1)
    correlation = np.where(varies, covariance / np.sqrt(np.where(varies, variance, 1.0)), 0.0)
    for position in np.argsort(-correlation)[:MATRIX_COLUMNS]:
        if correlation[position] > 0.5:
            yield Column(int(position), np.asarray(part[:, [position]].todense()).ravel())


def some_rows(size: int, where: np.ndarray | None = None) -> np.ndarray:
    """Return sorted row numbers: all of `where` (bool), or at most `ROWS` of them, drawn in the same way every time."""
    rows = np.arange(size) if where is None else np.flatnonzero(where)
    if len(rows) > ROWS:
        rows = np.sort(np.random.default_rng(0).choice(rows, ROWS, replace=False))
    return rows


def _plain(column: pd.Series) -> np.ndarray:
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    values = column.astype(object).to_numpy(copy=True)
    values[pd.isna(values)] = None
    return values
