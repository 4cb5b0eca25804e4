"""The table of an answer: each row's figures, ranked by what was said of rows of the training sides alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tl_research.answer.measured import ALWAYS, WITH, WITHOUT, Measured
from tl_research.answer.verdict import Gain, gain_of


def rows_of(found: Sequence[Measured], metric: str, metrics: Sequence[str], weights: dict[str, float]) -> list[dict]:
    """Return the rows: the answers, then every part alone in the order of its loss on unseen training rows.

    Args:
        found: the resamples at one number of labels.
        metric: that is compared.
        metrics: whose means are shown.
        weights: part -> its weight in the refitted model.

    Returns:
        One dictionary per row: `row`, `reads` (`old and new`, `new`, ...), `loss`, the means of the metrics, `gain`,
        `low`, `high` (over the new data alone; + is better), `weight`. A part's name stays the one that `portfolio`
        gives it.
    """
    losses = _means([each.losses for each in found])
    parts = sorted(losses, key=losses.get) or [name for name in found[0].reads_source]
    # Where the gate has opened everywhere, the old data in any case are the very same answer.
    answers = (WITH, WITHOUT) if all(each.opened for each in found) else (WITH, WITHOUT, ALWAYS)
    rows = []
    for row in (*answers, *parts):
        figures = _means([each.figures.get(row, {}) for each in found])
        gain = None if row == WITHOUT else gain_of(found, metric, row)
        reads_old = row in (WITH, ALWAYS) or found[0].reads_source.get(row, False)
        rows.append(
            {"row": row, "reads": "old and new" if reads_old else "new", "loss": losses.get(row)}
            | {name: figures.get(name) for name in metrics}
            | _ends(gain)
            | {"weight": weights.get(row)}
        )
    return rows


def unlabelled_rows(found: Sequence[Measured], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows that see no target label: `row` and the means of the metrics."""
    names = found[0].unlabelled
    means = {name: _means([each.unlabelled.get(name, {}) for each in found]) for name in names}
    return [{"row": name} | {metric: means[name].get(metric) for metric in metrics} for name in names]


def as_frame(rows: Sequence[dict[str, Any]], unlabelled: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return both blocks as one table; `sees_labels` tells them apart."""
    frame = pd.concat([pd.DataFrame(rows), pd.DataFrame(unlabelled)], ignore_index=True)
    frame.insert(1, "sees_labels", [True] * len(rows) + [False] * len(unlabelled))
    frame["reads"] = frame["reads"].fillna("old")
    return frame


def _ends(gain: Gain | None) -> dict[str, float | None]:
    if gain is None:
        return {"gain": None, "low": None, "high": None}
    ends = [float(end) if np.isfinite(end) else None for end in (gain.low, gain.high)]
    return {"gain": gain.mean, "low": ends[0], "high": ends[1]}


def _means(each: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of each figure over the resamples that have it."""
    names = dict.fromkeys(name for figures in each for name in figures)
    return {name: float(np.mean([figures[name] for figures in each if name in figures])) for name in names}
