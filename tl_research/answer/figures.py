"""How the figures of an answer are written."""

from __future__ import annotations

import math
from typing import NamedTuple

from tl_research.metrics.requested import find_metric

#: Metrics that have a usual spelling.
NAMES = {
    "auroc": "AUROC", "r2": "R²", "rmse": "RMSE", "mae": "MAE", "ece": "ECE", "macro_f1": "macro F1", "brier": "Brier",
}  # fmt: skip


def name_of(metric: str) -> str:
    """Return a metric's name in a sentence."""
    return NAMES.get(metric, metric.replace("_", " "))


def better(metric: str) -> int:
    """Return 1 where a higher value of the metric is better, else -1."""
    return 1 if find_metric(metric).higher_is_better else -1


def decimals(metric: str, level: float) -> int:
    """Return how many decimals a metric of this size has: three digits that matter, and three decimals of a share."""
    size = abs(level)
    if find_metric(metric).percent or size == 0 or not math.isfinite(size):
        return 3
    return min(
        12, max(0, 3 - max(0, math.floor(math.log10(size)))) if size >= 0.01 else 2 - math.floor(math.log10(size))
    )


def shown(value: float | None, places: int) -> str:
    """Return a figure; of none, a dash."""
    return "-" if value is None or math.isnan(value) else f"{value:,.{places}f}"


def difference(value: float, places: int) -> str:
    """Return a difference with its sign, which zero has too."""
    return f"{value:+,.{places}f}".replace("-", "−") if math.isfinite(value) else ("−∞" if value < 0 else "+∞")


def interval(low: float, high: float, places: int) -> str:
    """Return `[+0.012, +0.078]`."""
    return f"[{difference(low, places)}, {difference(high, places)}]"


class Ends(NamedTuple):
    """Ends of an interval."""

    low: float
    high: float


def possible_ends(mean: float, low: float, high: float, *, metric: str, base: float) -> Ends:
    """Return the ends of a gain's interval as they are shown: none that would take the metric out of its range.

    Beside a base of 0.9 no AUROC is better by more than 0.1, and no RMSE of 3 is bettered by more than 3. An interval
    is symmetric and knows no such limit.

    Args:
        mean: the gain, better where it is positive; the ends stay on both its sides.
        low, high: ends as they were computed.
        metric: its name.
        base: the metric's value that the gain is over.
    """
    least, most = sorted(better(metric) * (end - base) for end in find_metric(metric).range)
    return Ends(max(low, min(least, mean)), min(high, max(most, mean)))


def gained(mean: float, low: float | None, high: float | None, *, metric: str, base: float) -> str:
    """Return `+0.045 [+0.012, +0.078]`, or the gain alone where its interval has no end; see `possible_ends`."""
    places = decimals(metric, base)
    if low is None or high is None or not math.isfinite(low):
        return difference(mean, places)
    return f"{difference(mean, places)} {interval(*possible_ends(mean, low, high, metric=metric, base=base), places)}"


def rounded(count: float) -> int:
    """Return a count with two digits that matter."""
    if count < 100:
        return math.ceil(count)
    unit = 10 ** (math.floor(math.log10(count)) - 1)
    return math.ceil(count / unit) * unit
