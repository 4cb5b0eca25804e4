"""How the figures of an answer are written."""

from __future__ import annotations

import math

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


def rounded(count: float) -> int:
    """Return a count with two digits that matter."""
    if count < 100:
        return math.ceil(count)
    unit = 10 ** (math.floor(math.log10(count)) - 1)
    return math.ceil(count / unit) * unit
