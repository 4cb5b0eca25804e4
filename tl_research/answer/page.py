"""What is said at the end: one screen, and the page `answer.md`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tl_research.answer.answer import CURVE_FILE, PAGE_FILE, PLOT_FILE, TABLE_FILE, Answer
from tl_research.answer.figures import decimals, gained, name_of, shown
from tl_research.answer.measured import ANSWERS, WITHOUT
from tl_research.answer.verdict import FEWEST_ROWS
from tl_research.answer.with_leaks import lines_of

#: Parts that the screen shows; the files have all.
SHOWN_PARTS = 8
#: Heading of the gains.
BETTER = "better by"
#: What the names of the parts say.
WORDS = (
    "A part is a way to use the files and a learner. `target`: the new labels alone; `source`: the old files "
    "alone, calibrated on the new labels; `moved`: the same after the new rows are given the old files' mean and "
    "scale; `pooled`: both, with a column that tells them apart; `lightly pooled`: the same with less weight on "
    "the new labels; `scores`: the new rows with what the old files' learners say of them as further columns; "
    "`continued`: boosting that goes on from the old files; `held`: held to the model of the old files. `strict` "
    "is linear with a stronger penalty. The answers combine the parts; `weight` is that in the refitted model."
)


def screen(answer: Answer) -> str:
    """Return the answer as one screen of text: sentence, table, calibration, what was left out, folder, command."""
    facts = answer.facts
    shown_rows = facts["table"][: len(ANSWERS) + SHOWN_PARTS]
    header, rows = _cells(answer, shown_rows)
    lines = [answer.verdict, *_few(answer), *lines_of(facts["leaks"], answer.metric), "", *_aligned([header, *rows])]
    if more := len(facts["table"]) - len(shown_rows):
        lines.append(f"... and {more} more in {TABLE_FILE}")
    lines += ["", *_beneath(answer)]
    files = ", ".join([PAGE_FILE, TABLE_FILE, PLOT_FILE, *([CURVE_FILE] if facts["curve"] else []), "model.ckpt"])
    lines += [f"Folder: {answer.folder} ({files})", f"Apply it: {answer.command}"]
    return "\n".join(lines)


def page(answer: Answer) -> str:
    """Return `answer.md`."""
    facts = answer.facts
    header, rows = _cells(answer, facts["table"])
    question = facts["question"]
    lines = [
        f"# {' + '.join(question['old'])} → {question['new']}: {question['label'] or 'class'}",
        "",
        f"**{answer.verdict}**",
        "",
        *(line for few in _few(answer) for line in (few, "")),
        *(line for leak in lines_of(facts["leaks"], answer.metric) for line in (leak, "")),
        _how(answer),
        "",
        f"![{name_of(answer.metric)} of each row]({PLOT_FILE})",
        "",
        *_markdown(header, rows),
        "",
        WORDS,
        "",
        *(f"{line}\n" for line in _beneath(answer)),
    ]
    if facts["curve"]:
        lines += [f"![Gain at each number of labels]({CURVE_FILE})", "", *_markdown(*_curve_cells(answer)), ""]
    if facts["remarks"]:
        lines += [
            "## What was left out, counted, or is suspicious",
            "",
            *(f"- {line}" for line in facts["remarks"]),
            "",
        ]
    lines += ["## Use", "", "```", answer.command, "```", ""]
    return "\n".join(lines)


def _few(answer: Answer) -> list[str]:
    """Return the line that says why no gain has an interval, where rows are too few for one."""
    labelled = answer.facts["rows"]["labelled_used"]
    if labelled >= FEWEST_ROWS:
        return []
    return [f"{labelled} labelled rows are too few for an interval, which wants {FEWEST_ROWS}: nothing is decided."]


def _how(answer: Answer) -> str:
    facts = answer.facts
    measured = facts["resamples"]
    lacking = facts["verdict"]["lacking"]
    left = f" {lacking} of them had no value of {name_of(answer.metric)} and are left out." if lacking else ""
    return (
        f"{measured['count']} splits of {facts['rows']['labelled_used']:,} labelled rows: about {measured['train']:,} "
        f"labels learnt from, {measured['test']:,} rows tested on.{left} Rows are ranked by their loss on training "
        f"rows that they had not seen, so no test row orders the table. `{BETTER}` is over `{WITHOUT}`, + is better, "
        "with a 95 % interval each for itself alone: of twenty rows without any gain, one in the mean would show one."
    )


def _beneath(answer: Answer) -> list[str]:
    facts = answer.facts
    lines = []
    if facts["unlabelled"]:
        each = [_unlabelled(answer, row) for row in facts["unlabelled"]]
        lines.append(f"Without any label of the new file: {name_of(answer.metric)} {', '.join(each)}")
    lines.append(calibration_line(facts))
    if facts["curve_said"]:
        lines.append(facts["curve_said"])
    lines += [left_out_line(facts)]
    return lines


def _unlabelled(answer: Answer, row: dict[str, Any]) -> str:
    value = row[answer.metric]
    return f"{row['row']} {shown(value, decimals(answer.metric, value or 0.0))}"


def calibration_line(facts: dict[str, Any]) -> str:
    """Return whether what the answer predicts agrees in the mean with what is so."""
    own = facts["calibration"]
    if "line" in own:
        return own["line"] + (f"\nWarning: {own['warning']}" if own["warning"] else "")
    parts = []
    for name, (predicted, actual) in own["means"].items():
        places = 3 if name else decimals("rmse", actual)
        what = f"of {name!r} " if name else ""
        parts.append(f"{what}predicted {shown(predicted, places)}, actual {shown(actual, places)}")
    return f"Calibration: mean {'; '.join(parts)}"


def left_out_line(facts: dict[str, Any]) -> str:
    """Return what was not used, counted."""
    rows = facts["rows"]
    parts = []
    if unlabelled := rows["new_rows"] - rows["labelled"]:
        parts.append(f"{unlabelled:,} rows of the new file without a label")
    if beyond := rows["labelled"] - rows["labelled_used"]:
        parts.append(f"{beyond:,} labelled rows (--rows)")
    if beyond := rows["old_rows"] - rows["old_rows_used"]:
        parts.append(f"{beyond:,} old rows (method.source_rows)")
    if facts["columns_left_out"]:
        names = facts["columns_left_out"]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        parts.append(f"column{'s' if len(names) > 1 else ''} {', '.join(names[:5])}{more}")
    if sizes := facts.get("curve_left_out"):
        parts.append(f"{', '.join(f'{size:,}' for size in sizes)} labels of --curve")
    notes = len(facts["remarks"])
    said = f" ({notes} note{'s' if notes > 1 else ''} in {PAGE_FILE})" if notes else ""
    return f"Left out: {', '.join(parts) or 'nothing'}{said}"


def _cells(answer: Answer, rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    facts, metric = answer.facts, answer.metric
    metrics = facts["metrics"]
    base = next((row[metric] for row in facts["table"] if row["row"] == WITHOUT), None) or 0.0
    places = {name: decimals(name, _level(facts["table"], name)) for name in metrics}
    header = ["row", "reads", name_of(metric), BETTER, *map(name_of, metrics[1:]), "weight"]
    found = []
    for row in rows:
        gain = ""
        if row["gain"] is not None:
            gain = gained(row["gain"], row["low"], row["high"], metric=metric, base=base)
        weight = "" if row["weight"] is None else f"{row['weight']:.2f}"
        others = [shown(row[name], places[name]) for name in metrics[1:]]
        found.append([row["row"], row["reads"], shown(row[metric], places[metric]), gain, *others, weight])
    return header, found


def _level(rows: Sequence[dict[str, Any]], metric: str) -> float:
    return next((row[metric] for row in rows if row[metric] is not None), 0.0)


def _curve_cells(answer: Answer) -> tuple[list[str], list[list[str]]]:
    rows = []
    for point in answer.facts["curve"]:
        places = decimals(answer.metric, point["base"])
        gain = gained(point["mean"], point["low"], point["high"], metric=answer.metric, base=point["base"])
        cells = [shown(point["row"], places), shown(point["base"], places), gain]
        rows.append([f"{point['labels']:,}", *cells, point["kind"]])
    return ["labels", "with old data", "new data only", BETTER, "verdict"], rows


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if at < 2 or at == 3 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    aligns = ["---"] * len(header)
    return [f"| {' | '.join(cells)} |" for cells in (header, aligns, *rows)]
