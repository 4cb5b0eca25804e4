"""The picture of a suite: how far each row is from the baseline, and where it hurts."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd

from tl_research.metrics.registered import higher_is_better
from tl_research.registry import METRICS
from tl_research.report.blocks import Comparison, comparisons
from tl_research.report.scores import Scores
from tl_research.storage.files import write_atomically

#: Verdict -> colour that colour-blind readers tell apart (Okabe and Ito), and marker that needs no colour.
STYLES = {"helps": ("#0072B2", "^"), "hurts": ("#D55E00", "v"), "": ("#666666", "o")}


def plot_differences(frame: pd.DataFrame, suite, path: str | Path) -> None:
    """Draw the difference to the baseline of every row: the mean over tasks with its interval, one dot per task.

    Args:
        frame: from `collect`; where it holds nothing to compare, the picture says so.
        suite: the suite that the frame was collected for.
        path: file to write; its ending says the format.
    """
    # Not pyplot: it keeps state, and would choose a screen where there is one.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scores = Scores.of(frame, suite, suite.metric)
    blocks = [each for each in comparisons(frame, suite, scores) if each.reference is not None and each.labels]
    lines = sum(len(each.labels) for each in blocks) + (len(blocks) if len(blocks) > 1 else 0)
    figure = Figure(figsize=(8, 1.9 + 0.5 * max(1, lines)), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    better = "higher is better" if higher_is_better(suite.metric) else "lower is better"
    reference = blocks[0].reference if len(blocks) == 1 else suite.baseline if not blocks else "the reference"
    axes.set_title(f"{suite.name}: difference to {reference}", loc="left", fontsize=11)
    unit = "points" if METRICS[suite.metric].percent else "own unit"
    axes.set_xlabel(f"{suite.metric} on target_test minus that of {reference}, {unit} ({better})")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    if blocks:
        _draw(axes, scores, blocks)
    else:
        axes.set_axis_off()
        axes.text(0.5, 0.5, f"nothing to compare with {suite.baseline} yet", ha="center", transform=axes.transAxes)
    save(figure, path)


def save(figure, path: str | Path) -> None:
    """Write a picture, whole or not at all; the same numbers give the same file."""
    ending = Path(path).suffix.removeprefix(".")
    picture = io.BytesIO()
    # without the date and the version in it
    figure.savefig(picture, format=ending, metadata={"Software": None} if ending == "png" else None)
    write_atomically(path, picture.getvalue())


def _draw(axes, scores: Scores, blocks: list[Comparison]) -> None:
    factor = 100 if METRICS[scores.metric].percent else 1
    axes.axvline(0, color="black", linewidth=1, zorder=1)
    used, places, at = set(), {}, -1
    for each in blocks:
        if len(blocks) > 1:
            at += 1
            kind = "rows that train on target labels" if each.sees_labels else "rows that train on no target label"
            axes.text(
                0, at + 0.3, f"{kind}; reference: {each.reference}", transform=axes.get_yaxis_transform(), fontsize=9,
                style="italic", bbox={"facecolor": "white", "edgecolor": "none", "pad": 2},
            )  # fmt: skip
        for label in each.labels:
            at += 1
            places[at] = label
            used |= _draw_row(axes, scores, label, each.reference, at, factor)
    axes.set_yticks(list(places), places.values())
    axes.set_ylim(at + 0.6, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    _legend(axes, used)


def _draw_row(axes, scores: Scores, label: str, reference: str, at: int, factor: float) -> set[str]:
    """Draw a row at height `at`: tasks small, the mean over them large; return the verdicts that were drawn."""
    used = set()
    for task in scores.tasks:
        difference = scores.difference(label, reference, task)
        if difference is not None:
            verdict = scores.verdict(difference)
            used.add(verdict)
            colour, marker = STYLES[verdict]
            axes.plot(factor * difference.mean, at + 0.22, marker, color=colour, markersize=5.5, alpha=0.7, mew=0)
    difference = scores.difference(label, reference, None)
    if difference is not None:
        verdict = scores.verdict(difference)
        used.add(verdict)
        colour, marker = STYLES[verdict]
        if difference.low is not None:
            axes.plot([factor * difference.low, factor * difference.high], [at - 0.1] * 2, color=colour, linewidth=3)
        axes.plot(factor * difference.mean, at - 0.1, marker, color=colour, markersize=9, mec="white", zorder=3)
    return used


def _legend(axes, used: set[str]) -> None:
    from matplotlib.lines import Line2D

    names = {"hurts": "hurts: 95 % interval on the worse side", "helps": "helps: on the better side", "": "undecided"}
    handles = [
        Line2D([], [], color=STYLES[verdict][0], marker=STYLES[verdict][1], linestyle="", label=names[verdict])
        for verdict in ("hurts", "", "helps")
        if verdict in used
    ]
    handles.append(
        Line2D([], [], color="#666666", linewidth=3, label="large: mean over tasks with interval; small: a task")
    )
    axes.figure.legend(handles=handles, loc="outside lower left", ncols=2, frameon=False, fontsize=8)
