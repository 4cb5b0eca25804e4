"""Are equal rows copies, or do they meet by chance, as rows of few values do?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from tl_research.data.audit.columns import columns, some_rows
from tl_research.data.domain import Domain
from tl_research.data.modalities import Modalities

#: Equal rows that a row may meet by chance; where it would meet fewer, rows that are equal are copies of one another.
COPIES_BELOW = 0.01


def equals_by_chance(domain: Domain, keys: np.ndarray, ignored: Sequence[str | int] = ()) -> float:
    """Return how many equal rows would be met per row in the domain if its columns were drawn independently.

    n · Π_j P(two rows have the same value in column j), over rows that differ, of which the probabilities are estimated
    without bias: Σ_v c_v (c_v - 1) / (m (m - 1)) of m rows, c_v of them with value v. Real columns hang together, so
    that more rows meet. Of images and of wide or sparse matrices it is 0.

    Args:
        domain: n rows.
        keys: (n,) of the rows' features, equal for equal ones.
        ignored: columns that `keys` do not read.
    """
    first = ~pd.Series(keys).duplicated().to_numpy()
    rows = some_rows(len(domain), first)
    if len(rows) < 2:
        return float(len(domain))
    expected, looked_at = float(len(domain)), False
    for values in _columns(domain, rows, ignored):
        sizes = np.unique(pd.factorize(values, use_na_sentinel=False)[0], return_counts=True)[1].astype(float)
        expected *= float((sizes * (sizes - 1)).sum()) / (len(rows) * (len(rows) - 1))
        looked_at = True
        if expected < 1e-9:
            break
    return expected if looked_at else 0.0


def are_copies(domain: Domain, keys: np.ndarray, ignored: Sequence[str | int] = ()) -> bool:
    """Whether rows of equal features are copies of one another, rather than rows that few values make equal."""
    return equals_by_chance(domain, keys, ignored) < COPIES_BELOW


def _columns(domain: Domain, rows: np.ndarray, ignored: Sequence[str | int]) -> Iterator[np.ndarray]:
    inputs = domain.inputs
    if isinstance(inputs, Modalities) and inputs.image is not None:
        return  # pixels meet by chance nowhere
    if isinstance(inputs, Modalities) and inputs.text is not None:
        yield inputs.text[rows]
    for column in columns(domain, rows):
        if column.name not in ignored:
            yield column.values
