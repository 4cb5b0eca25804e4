"""The pictures of an answer: its rows in their order, and the gain at each number of labels."""

from __future__ import annotations

from pathlib import Path

from tl_research.answer.answer import Answer
from tl_research.answer.figures import decimals, name_of, possible_ends, shown
from tl_research.answer.measured import ALWAYS, WITH, WITHOUT
from tl_research.answer.verdict import HELPED, HURT
from tl_research.report.plot import STYLES, save

#: Rows of the picture, from the top.
MOST_ROWS = 16
GREY, LIGHT = "#666666", "#dddddd"


def plot_rows(answer: Answer, path: str | Path) -> None:
    """Draw by how much each row is better than the new data alone, with its interval, sorted, the answers on top."""
    table = [row for row in answer.facts["table"] if row["gain"] is not None]
    answers = [row for row in table if row["row"] in (WITH, ALWAYS)]
    parts = sorted((row for row in table if row not in answers), key=lambda row: -row["gain"])
    rows = [*answers, *parts][:MOST_ROWS]
    base = next(row[answer.metric] for row in answer.facts["table"] if row["row"] == WITHOUT)
    figure, axes = _axes(height=1.9 + 0.34 * len(rows))
    axes.axvline(0, color="black", linewidth=1, zorder=1)
    for at, row in enumerate(rows):
        colour, marker = STYLES[_side(row)]
        if row["low"] is not None:
            ends = possible_ends(row["gain"], row["low"], row["high"], metric=answer.metric, base=base)
            axes.plot(ends, [at, at], color=colour, linewidth=4 if row in answers else 2.5, zorder=2)
        axes.plot(row["gain"], at, marker, color=colour, markersize=9 if row in answers else 7, mec="white", zorder=3)
    places = decimals(answer.metric, base)
    labels = [f"{row['row']} · {shown(row[answer.metric], places)}" for row in rows]
    axes.set_yticks(range(len(rows)), labels)
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if row in answers else "normal")
    if answers:
        axes.axhline(len(answers) - 0.5, color=LIGHT, linewidth=1)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(
        f"{name_of(answer.metric)}: better by how much than the new data alone ({shown(base, places)}); + is better"
    )
    _title(axes, answer)
    _legend(figure, {_side(row) for row in rows}, "bold: the answers; below: each part alone, best first")
    save(figure, path)


def plot_curve(answer: Answer, path: str | Path) -> None:
    """Draw the gain of the old data against the number of labels, with its interval."""
    points = answer.facts["curve"]
    figure, axes = _axes(height=4.2)
    axes.axhline(0, color="black", linewidth=1, zorder=1)
    labels, means = [point["labels"] for point in points], [point["mean"] for point in points]
    axes.plot(labels, means, color=GREY, linewidth=1, zorder=2)
    sides = [{HELPED: "helps", HURT: "hurts"}.get(point["kind"], "") for point in points]
    for point, side in zip(points, sides, strict=True):
        colour, marker = STYLES[side]
        if point["low"] is not None:
            ends = possible_ends(point["mean"], point["low"], point["high"], metric=answer.metric, base=point["base"])
            axes.plot([point["labels"]] * 2, ends, color=colour, linewidth=3, zorder=2)
        axes.plot(point["labels"], point["mean"], marker, color=colour, markersize=9, mec="white", zorder=3)
    axes.set_xscale("log")
    axes.set_xticks(labels, [f"{label:,}" for label in labels])
    axes.minorticks_off()
    axes.set_xlabel("labels of the new file that are learnt from")
    axes.set_ylabel(f"{name_of(answer.metric)}: better by, with the old data")
    _title(axes, answer, answer.facts["curve_said"])
    _legend(figure, set(sides), "")
    save(figure, path)


def _axes(*, height: float):
    # Not pyplot: it keeps state, and would choose a screen where there is one.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=LIGHT, linewidth=0.7)
    axes.set_axisbelow(True)
    return figure, axes


def _title(axes, answer: Answer, said: str = "") -> None:
    """The first words of the verdict, wrapped; the picture can stand without its page."""
    import textwrap

    text = said or answer.verdict.split(";")[0].split("; use")[0]
    axes.figure.suptitle("\n".join(textwrap.wrap(text, 105)), x=0.01, ha="left", fontsize=10)


def _side(row: dict) -> str:
    if row["low"] is None:
        return ""
    return "helps" if row["low"] > 0 else "hurts" if row["high"] < 0 else ""


def _legend(figure, used: set[str], note: str) -> None:
    from matplotlib.lines import Line2D

    names = {"helps": "better: the whole 95 % interval", "": "undecided", "hurts": "worse: the whole 95 % interval"}
    handles = [
        Line2D([], [], color=STYLES[side][0], marker=STYLES[side][1], linestyle="", label=label)
        for side, label in names.items()
        if side in used
    ]
    if note:
        handles.append(Line2D([], [], linestyle="", label=note))
    figure.legend(handles=handles, loc="outside lower left", ncols=3, frameon=False, fontsize=8)
