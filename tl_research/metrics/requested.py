"""Metrics that are measured where somebody asks for them: some bear a parameter in their name.

    find_metric("precision_at_100").function(rows)       # of the 100 rows with the highest score, the share of hits
    find_metric("recall_at_5%").function(rows)

No run measures them after each epoch, so records do not hold them; the answer of `compare` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tl_research.errors import ConfigError, nearest
from tl_research.metrics.registered import Metric
from tl_research.registry import METRIC_FAMILIES, METRICS, REQUESTED_METRICS


@dataclass(frozen=True)
class Family:
    """Metrics whose names begin alike and end in a parameter.

    Fields:
        function: the parameter's text, and the names of the classes where they are known -> the metric; raises
            `ValueError` with what it wants instead.
        example: a name of this family.
    """

    function: Callable[[str, Sequence[str]], Metric]
    example: str


def requested(name: str, *, better: str, of: str = "class", percent: bool = False, **wants: Any) -> Callable:
    """Register a metric that is measured on request; arguments as of `registered.metric`.

    Args:
        name: of the metric.
        better: `high` or `low`.
        of: kind of outcome.
        percent: whether tables show it in percent.
        wants: `two_classes`, `needs_group`, `fewest_rows`, `bounds` of `Metric`.
    """

    def add(function: Callable[[Any], float | None]) -> Callable[[Any], float | None]:
        REQUESTED_METRICS.add(name, Metric(name, function, better == "high", of, percent, **wants))
        return function

    return add


def family(begin: str, *, example: str) -> Callable:
    """Register a family of metrics: the function makes one of the text behind `begin`, and of the classes' names."""

    def add(function: Callable[[str, Sequence[str]], Metric]) -> Callable[[str, Sequence[str]], Metric]:
        METRIC_FAMILIES.add(begin, Family(function, example))
        return function

    return add


def find_metric(name: str, *, classes: Sequence[str] = (), key: str = "--metric") -> Metric:
    """Return the metric of a name, with or without a parameter.

    Args:
        name: such as `auroc`, `brier`, `precision_at_100`, `lift_at_10%` or `value:tp=20,fp=-1`.
        classes: names of the label's classes, where they are known: a parameter may name one.
        key: what a message calls the place where the user wrote it.

    Raises:
        ConfigError: there is no such metric, or its parameter is none.
    """
    for known in (METRICS, REQUESTED_METRICS):
        if name in known:
            return known[name]
    for begin, each in METRIC_FAMILIES.items():
        if name.startswith(begin):
            try:
                return each.function(name.removeprefix(begin), classes)
            except ValueError as error:
                raise ConfigError(f"{key}: {name!r}: {error}, as in {each.example!r}") from None
    names = [*METRICS, *REQUESTED_METRICS, *(each.example for each in METRIC_FAMILIES.values())]
    raise ConfigError(f"{key}: there is no {name!r}{nearest(name, names)}")


def measured(metrics: Iterable[Metric], rows: Any) -> dict[str, float]:
    """Return the name and value of each metric that has one on these rows; see `Outcome.rows_of`."""
    values = {metric.name: metric.function(rows) for metric in metrics}
    return {name: float(value) for name, value in values.items() if value is not None}


def check_metric(metric: Metric, *, classes: int, rows: int, has_group: bool = False, key: str = "--metric") -> None:
    """Refuse a metric that can have no value on such rows.

    Args:
        metric: found by `find_metric`.
        classes: outputs per row (numbers have 1).
        rows: that are measured at a time.
        has_group: whether the group of each row is known.
        key: what a message calls the place where the user wrote it.

    Raises:
        ConfigError: too many classes, too few rows, or no groups.
    """
    if metric.two_classes and classes != 2:
        raise ConfigError(f"{key}: {metric.name!r} speaks of the second of two classes, and the label has {classes}")
    if metric.needs_group and not has_group:
        raise ConfigError(f"{key}: {metric.name!r} wants the group of each row; name its column with --group")
    if rows < metric.fewest_rows:
        hint = f"give fewer rows or a share, such as {metric.name.rsplit('_', 1)[0]}_5%"
        raise ConfigError(f"{key}: {metric.name!r} wants {metric.fewest_rows:,} rows, and {rows:,} test; {hint}")


def named_numbers(text: str) -> dict[str, float]:
    """Read `tp=20,fp=-1`: names and finite numbers, each name once.

    Raises:
        ValueError: saying what it wants.
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.rpartition("="))
        try:
            value = float(number)
        except ValueError:
            value = float("nan")
        if not (name and equals) or abs(value) == float("inf") or value != value:
            raise ValueError(f"got {part!r}, wants NAME=NUMBER")
        if name in found:
            raise ValueError(f"got {name!r} twice, wants each name once")
        found[name] = value
    return found
