"""Metrics of open label sets: rows of known classes, and rows of none of them, whose class is `unknown`.

They have no value where no class is `unknown` (`ClassRows.has_unknown`), so that records of other runs do not hold
them. `balanced_accuracy` of such rows is what the literature calls OS: the mean over known classes and `unknown`.
"""

from __future__ import annotations

import numpy as np

from tl_research.metrics.classes import ClassRows
from tl_research.metrics.registered import metric


@metric("known_accuracy", better="high", of="class", percent=True)
def known_accuracy(rows: ClassRows) -> float | None:
    """Mean recall of the known classes that have rows (OS* in the literature): rows taken for `unknown` are misses.

    None where no row is of a known class.
    """
    known = rows.present[rows.present < rows.classes - 1]
    if not rows.has_unknown or not len(known):
        return None
    return np.mean(rows.hits[known] / rows.confusion.sum(axis=1)[known])


@metric("unknown_accuracy", better="high", of="class", percent=True)
def unknown_accuracy(rows: ClassRows) -> float | None:
    """Share of the unknown rows that are taken for `unknown`; None where no row is."""
    unknown = rows.confusion[-1].sum()
    return rows.hits[-1] / unknown if rows.has_unknown and unknown else None


@metric("h_score", better="high", of="class", percent=True)
def h_score(rows: ClassRows) -> float | None:
    """Harmonic mean 2 a b / (a + b) of a = `known_accuracy` and b = `unknown_accuracy`.

    0 where both are 0; None where one of them has no value. A model that takes no row for `unknown`, or every row, has
    0.

    Reference:
        Fu et al. 2020, ECCV (CMU), section 4.1, with the mean over classes for a.
    """
    known, unknown = known_accuracy(rows), unknown_accuracy(rows)
    if known is None or unknown is None:
        return None
    return 2 * known * unknown / (known + unknown) if known + unknown else 0.0
