"""`@metric`: a function, and beside it the direction, the unit and the kind of outcome that it is a metric of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tl_research.registry import METRICS


@dataclass(frozen=True)
class Metric:
    """One registered metric.

    Fields:
        name: as histories, records and suites spell it.
        function: the rows of a split -> the value, or None where it has none on these rows.
        higher_is_better: its direction.
        of: kind of outcome (`Outcome.kind`) whose rows `function` takes.
        percent: whether tables show it in percent and its differences in points; else in its own unit.
        two_classes: whether it wants rows of two classes, and speaks of the second.
        needs_group: whether it wants the group of each row.
        fewest_rows: that it has a value on.
        bounds: the least and the most that it can be; None: 0 and 1 in percent, and in another unit whatever there is.
    """

    name: str
    function: Callable[[Any], float | None]
    higher_is_better: bool
    of: str
    percent: bool
    two_classes: bool = False
    needs_group: bool = False
    fewest_rows: int = 1
    bounds: tuple[float, float] | None = None

    @property
    def range(self) -> tuple[float, float]:
        """The least and the most that it can be; infinite where there is no such end."""
        return self.bounds or ((0.0, 1.0) if self.percent else (-math.inf, math.inf))


def metric(
    name: str, *, better: str, of: str, percent: bool = False, bounds: tuple[float, float] | None = None
) -> Callable:
    """Register a metric.

    The function takes the rows of one split, in the form of its kind of outcome: `ClassRows` (`of="class"`) or
    `NumberRows` (`of="regression"`). It returns a number, or None where the metric has no value on these rows.

    Args:
        name: of the metric; no slash and no `@`, which separate the split and the domain in a record.
        better: `high` or `low`.
        of: kind of outcome, see `Outcome.kind`.
        percent: whether tables show it in percent.
        bounds: the least and the most that it can be; None: as `Metric` says.

    Raises:
        ValueError: a name that cannot be one, a direction that there is not, or a name that is taken.
    """
    if better not in ("high", "low"):
        raise ValueError(f"metric {name!r}: better is {better!r}, wants 'high' or 'low'")
    if not name or "/" in name or "@" in name:
        raise ValueError(f"metric: got the name {name!r}, wants a text without '/' and '@'")

    def add(function: Callable[[Any], float | None]) -> Callable[[Any], float | None]:
        METRICS.add(name, Metric(name, function, better == "high", of, percent, bounds=bounds))
        return function

    return add


def values_of(kind: str, rows: Any) -> dict[str, float]:
    """Compute every metric of a kind of outcome that has a value on these rows; one without a value is absent."""
    values = {each.name: each.function(rows) for each in METRICS.values() if each.of == kind}
    return {name: float(value) for name, value in values.items() if value is not None}


def higher_is_better(name: str) -> bool:
    """Direction of a metric; `ValueError` for a metric that is not registered: a direction is never guessed."""
    return METRICS.find(name).higher_is_better
