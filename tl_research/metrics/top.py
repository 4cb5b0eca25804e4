"""What stands at the top of a ranking: precision, recall and lift of the rows with the highest scores.

Of two classes the second is the positive one, and the score is its log odds, which rank like its probability. Rows of
equal scores stand in random order, and a metric is its mean over all such orders: the K-th row may be a part of a tie.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from tl_research.metrics.classes import ClassRows, Ranking
from tl_research.metrics.registered import Metric
from tl_research.metrics.requested import family


class Amount(NamedTuple):
    """How many rows the top has: a number of them, or a share of all."""

    rows: int | None
    share: Fraction | None

    @classmethod
    def of(cls, text: str) -> Amount:
        """Read `100` (rows) or `5%`.

        Raises:
            ValueError: saying what it wants.
        """
        try:
            if text.endswith("%"):
                share = Fraction(text[:-1]) / 100
                if 0 < share <= 1:
                    return cls(None, share)
            elif text.isdecimal() and int(text) > 0:
                return cls(int(text), None)
        except (ValueError, ZeroDivisionError):
            pass
        raise ValueError(f"got {text!r}, wants a number of rows (1 or more), or a share of them above 0% up to 100%")

    def among(self, rows: int) -> int:
        """Return the number of rows, of so many; a share is rounded up, so it is at least one."""
        return self.rows if self.share is None else math.ceil(self.share * rows)

    @property
    def fewest(self) -> int:
        """Rows that there must be."""
        return self.rows or 1


def hits_of_top(ranking: Ranking, top: float) -> float | None:
    """Positives among the `top` first rows, in the mean over all orders of equal scores; None where rows are fewer."""
    if top > ranking.rows[-1]:
        return None
    return float(np.interp(top, np.append(0, ranking.rows), np.append(0, ranking.above)))


def precision_at(rows: ClassRows, amount: Amount) -> float | None:
    """Hits among the top K rows, divided by K; None with fewer than K rows."""
    top = amount.among(len(rows.label))
    hits = hits_of_top(rows.rankings[0], top)
    return None if hits is None else hits / top


def recall_at(rows: ClassRows, amount: Amount) -> float | None:
    """Hits among the top K rows, divided by all positives: what K alerts catch.

    None with fewer than K rows, or without a positive.
    """
    ranking = rows.rankings[0]
    hits = hits_of_top(ranking, amount.among(len(rows.label)))
    return hits / int(ranking.positives) if hits is not None and ranking.positives else None


def lift_at(rows: ClassRows, amount: Amount) -> float | None:
    """Precision at K divided by the share of positives among all rows: 1 is chance; None as for `recall_at`."""
    precision, positives = precision_at(rows, amount), rows.rankings[0].positives
    return precision * len(rows.label) / int(positives) if precision is not None and positives else None


def _register(
    name: str,
    function: Callable[[ClassRows, Amount], float | None],
    example: str,
    *,
    percent: bool,
    bounds: tuple[float, float] | None = None,
) -> None:
    @family(f"{name}_", example=example)
    def make(text: str, classes: Sequence[str]) -> Metric:
        amount = Amount.of(text)

        def value(rows: ClassRows) -> float | None:
            return function(rows, amount)

        wants = {"two_classes": True, "fewest_rows": amount.fewest}
        return Metric(f"{name}_{text}", value, True, "class", percent, bounds=bounds, **wants)


_register("precision_at", precision_at, "precision_at_100", percent=True)
_register("recall_at", recall_at, "recall_at_5%", percent=True)
_register("lift_at", lift_at, "lift_at_10%", percent=False, bounds=(0, math.inf))


class Lift(NamedTuple):
    """The lift curve, from the rows with the highest scores to those with the lowest.

    Fields:
        rows: (parts,) rows up to the end of each part.
        captured: (parts,) share of all positives among these rows (cumulative gains).
        lift: (parts,) share of positives within the part, divided by that among all rows; nan for a part without rows.
        cumulative: (parts,) the same of all rows up to the end of the part.
    """

    rows: np.ndarray
    captured: np.ndarray
    lift: np.ndarray
    cumulative: np.ndarray


def lift_curve(rows: ClassRows, parts: int = 10) -> Lift | None:
    """Return the lift by deciles (or other equal parts); None without a positive.

    Part k ends at row ceil(k n / parts). The first `cumulative` is `lift_at_10%` where there are ten parts.
    """
    ranking, n = rows.rankings[0], len(rows.label)
    if not ranking.positives:
        return None
    ends = np.array([-(-part * n // parts) for part in range(1, parts + 1)])
    hits = np.interp(ends, np.append(0, ranking.rows), np.append(0, ranking.above))
    size, rate = np.diff(ends, prepend=0), ranking.positives / n
    within = np.divide(np.diff(hits, prepend=0.0), size, out=np.full(parts, np.nan), where=size > 0)
    return Lift(ends, hits / ranking.positives, within / rate, hits / ends / rate)
