"""The picture of a suite with `shots`: each row over the number of target labels, and its gain over the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tl_research.metrics.registered import higher_is_better
from tl_research.registry import METRICS
from tl_research.report.blocks import comparisons
from tl_research.report.plot import save
from tl_research.report.scores import Scores
from tl_research.suites.suite import shots_text

#: Colours that colour-blind readers tell apart (Okabe and Ito), and markers that need no colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999", "#8B6508")
MARKERS = "osD^vPX<>*"
BASELINE = "#000000"


def plot_curves(frame: pd.DataFrame, suite, path: str | Path) -> None:
    """Draw learning curves: the mean over tasks and seeds of every row, against the number of target labels.

    Below it stands the paired difference to the baseline at the same labels, with its 95 % interval.

    Args:
        frame: from `collect`.
        suite: a suite with `shots`.
        path: file to write; its ending says the format.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scores = Scores.of(frame, suite, suite.metric)
    factor = 100 if METRICS[suite.metric].percent else 1
    unit = "%" if METRICS[suite.metric].percent else "own unit"
    better = "higher is better" if higher_is_better(suite.metric) else "lower is better"
    labels = [row.label for row in suite.methods if scores.values[row.label]]
    figure = Figure(figsize=(8, 7.5 if suite.baseline else 4.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2 if suite.baseline else 1, 1, sharex=True, squeeze=False)[:, 0]
    panels[0].set_title(f"{suite.name}: {suite.metric} over target labels", loc="left", fontsize=11)
    panels[0].set_ylabel(f"{suite.metric} ({unit}, {better})")
    styles = _styles(labels, suite.baseline)
    for label in labels:
        means = [scores.at(suite, shots).mean(label) for shots in suite.shots]
        means = [np.nan if mean is None else factor * mean for mean in means]
        panels[0].plot(range(len(suite.shots)), means, label=label, **styles[label])
    if suite.baseline:
        others = [
            label
            for each in comparisons(frame, suite, scores)
            if each.reference == suite.baseline
            for label in each.labels
        ]
        _draw_differences(panels[1], scores, suite, others, styles, factor)
    panels[-1].set_xticks(range(len(suite.shots)), [shots_text(shots) for shots in suite.shots])
    for axes in panels:
        axes.grid(axis="y", color="#dddddd", linewidth=0.7)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    if labels:
        figure.legend(
            *panels[0].get_legend_handles_labels(), loc="outside lower left", ncols=3, frameon=False, fontsize=8
        )
    save(figure, path)


def _draw_differences(axes, scores: Scores, suite, others: Sequence[str], styles: dict, factor: float) -> None:
    axes.axhline(0, color=BASELINE, linewidth=1)
    axes.set_ylabel(f"minus {suite.baseline}, with 95 % interval")
    for number, label in enumerate(others):
        # side by side, so that intervals do not cover one another
        shift = (number - (len(others) - 1) / 2) * min(0.08, 0.7 / max(1, len(others)))
        for at, shots in enumerate(suite.shots):
            difference = scores.at(suite, shots).difference(label, suite.baseline, None)
            if difference is None:
                continue
            style = styles[label]
            if difference.low is not None:
                ends = [factor * difference.low, factor * difference.high]
                axes.plot([at + shift] * 2, ends, color=style["color"], linewidth=2)
            axes.plot(at + shift, factor * difference.mean, style["marker"], color=style["color"], markersize=5.5)


def _styles(labels: Sequence[str], baseline: str | None) -> dict[str, dict]:
    styles = {}
    for number, label in enumerate(label for label in labels if label != baseline):
        styles[label] = {
            "color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)],
            "linestyle": "-" if number < len(COLOURS) else "--", "linewidth": 1.4, "markersize": 5.5,
        }  # fmt: skip
    if baseline is not None:
        styles[baseline] = {"color": BASELINE, "marker": "s", "linestyle": ":", "linewidth": 2, "markersize": 5}
    return styles
