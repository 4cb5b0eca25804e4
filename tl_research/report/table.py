"""Records to tables: the long frame (`collect`, `write_csv`) and the page for people (`render`)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from tl_research.metrics.registered import higher_is_better
from tl_research.registry import METRICS, RULES
from tl_research.report.blocks import comparisons, sees_labels
from tl_research.report.collect import collect, to_csv, write_csv
from tl_research.report.differences import MEAN, columns_of, counted, differences
from tl_research.report.footer import footer
from tl_research.report.layout import Block, Grid, Heading, Text, fitting, latex, markdown, paragraph
from tl_research.report.scores import MISSING, Scores
from tl_research.runs.record import Record
from tl_research.suites.suite import shots_text

__all__ = ["collect", "render", "write_csv"]


def render(frame: pd.DataFrame, suite, format: str = "md", records: Sequence[Record] = ()) -> str:
    """Return the page of a suite.

    Args:
        frame: from `collect`.
        suite: the suite that the frame was collected for.
        format: `md`, `latex` (its tables alone) or `csv` (the long frame).
        records: all records there are; for the footer (runs that failed, environment).

    Raises:
        ValueError: unknown format.
    """
    if format == "csv":
        return to_csv(frame)
    if format not in ("md", "latex"):
        raise ValueError(f"format: got {format!r}, wants md, csv or latex")
    own = Scores.of(frame, suite, suite.metric)
    blocks: list[Block] = [Heading(f"{suite.name}: {suite.metric} on target_test", 1)]
    if suite.notes:
        blocks.append(Text(suite.notes.strip()))
    blocks += [
        paragraph(_caption(frame, suite, own)),
        *_main(own, suite, "Each run's own selection rule", suite.reference),
    ]
    blocks += _against_published(own, suite)
    blocks += differences(frame, own, suite)
    blocks += _by_shots(frame, own, suite)
    blocks += _selection(frame, suite)
    blocks += _other_metrics(frame, suite)
    blocks += _oracle(frame, suite)
    blocks += footer(frame, suite, records)
    return markdown(blocks) if format == "md" else latex(blocks)


def _labels(suite) -> tuple[str, ...]:
    return tuple(row.label for row in suite.methods)


def _caption(frame: pd.DataFrame, suite, scores: Scores) -> str:
    form = "in percent" if METRICS[suite.metric].percent else "in its own unit"
    better = "higher" if higher_is_better(suite.metric) else "lower"
    sentences = [
        f"Cells: {suite.metric} on the target's test rows, {form} ({better} is better), mean ± standard deviation over "
        f"{counted(len(suite.seeds), 'seed')}; (n=3/5): 3 of 5 seeds have a value; {MISSING}: none has. "
        f"The column or row `{MEAN}` is the mean over tasks; its ± and n count the seeds "
        "that have a value for every task.",
    ]
    chosen = frame[frame["selected"].astype(bool)] if len(frame) else frame
    rules = {rule: list(dict.fromkeys(part["label"])) for rule, part in chosen.groupby("rule", sort=False)}
    if rules:
        named = "; ".join(f"`{rule}` ({_reads(rule)}): {', '.join(labels)}" for rule, labels in rules.items())
        sentences.append(f"Epoch chosen by each run's own selection rule: {named}.")
    shown = [f"{label} ({_setting(part)})" for label, part in frame.groupby("label", sort=False) if sees_labels(part)]
    if shown:
        sentences.append(f"Rows that train on target labels: {', '.join(shown)}.")
    return " ".join(sentences)


def _reads(rule: str) -> str:
    if RULES[rule].is_oracle:
        return "reads target test labels"
    return "reads target labels held out for it" if RULES[rule].needs_target_labels else "reads no target label"


def _setting(part: pd.DataFrame) -> str:
    kinds = part[["setting", "shots"]].drop_duplicates().itertuples(index=False)
    return " and ".join(kind if pd.isna(shots) else f"{kind}, shots {shots:g}" for kind, shots in kinds)


def _main(scores: Scores, suite, caption: str, references: Sequence = ()) -> list[Block]:
    def grid(cell, published, title: str) -> Grid:
        rows, cells = [], []
        for label in _labels(suite):
            rows.append(label)
            cells.append(tuple(cell(label, task) for task in columns_of(scores)))
            for number, reference in enumerate(references, start=1):
                if published is not None and reference.beside == label and reference.metric == scores.metric:
                    rows.append(f"{reference.label}, published [{number}]")
                    cells.append(tuple(published(reference, task) for task in columns_of(scores)))
        return Grid(
            "row",
            "task",
            tuple(MEAN if task is None else task for task in columns_of(scores)),
            tuple(rows),
            tuple(cells),
            title,
        )

    def value(reference, task) -> str:
        if task is not None:
            return scores.shown(reference.values.get(task))
        known = [reference.values[name] for name in scores.tasks if name in reference.values]
        return scores.shown(sum(known) / len(known)) + scores.tasks_note(len(known)) if known else MISSING

    title = f"{scores.metric}, {caption[0].lower()}{caption[1:]}"
    whole = grid(scores.cell, value, title)
    means = grid(lambda label, task: scores.cell(label, task, spread=False), value, f"{title}: means")
    spreads = grid(
        lambda label, task: scores.spread(label, task).removeprefix(" ± ") or MISSING,
        None,
        f"{title}: standard deviation over seeds",
    )
    tables = fitting([whole], [means, spreads])
    if len(tables) == 1:
        return [Heading(caption), *tables]
    return [Heading(f"{caption}: means"), tables[0], Heading("Standard deviation over seeds", 3), tables[1]]


def _against_published(scores: Scores, suite) -> list[Block]:
    lines = []
    for number, reference in enumerate(suite.reference, start=1):
        line = f"[{number}] {reference.label}, {reference.paper}"
        if reference.metric != scores.metric:
            lines.append(f"- {line}: {reference.metric}, not comparable with this table.")
            continue
        ours = scores.values.get(reference.beside, {})
        both = [task for task in scores.tasks if task in reference.values and ours.get(task)]
        if not both:
            lines.append(f"- {line}: no task in common with {reference.beside}.")
            continue
        our_mean = sum(scores.task_mean(reference.beside, task) for task in both) / len(both)
        their_mean = sum(reference.values[task] for task in both) / len(both)
        lines.append(
            f"- {line}: our {reference.beside} {scores.shown(our_mean)}, published {scores.shown(their_mean)}, "
            f"ours minus theirs {scores.shown_difference(our_mean - their_mean)} "
            f"(mean over the {counted(len(both), 'task')} in common)."
        )
    return [Text("Published values beside ours:\n\n" + "\n".join(lines))] if lines else []


def _by_shots(frame: pd.DataFrame, scores: Scores, suite) -> list[Block]:
    """Of a suite with `shots`: each row at each number of target labels, and its difference to its reference."""
    if not suite.shots:
        return []
    at = [scores.at(suite, shots) for shots in suite.shots]
    headings, labels = tuple(map(shots_text, suite.shots)), _labels(suite)
    cells = tuple(tuple(part.cell(label, None, spread=False) for part in at) for label in labels)
    blocks = [Heading("By number of target labels"), *fitting([Grid("row", "labels", headings, labels, cells,
              f"{scores.metric}, mean over tasks")])]  # fmt: skip
    for each in comparisons(frame, suite, scores):
        if each.reference is None or not each.labels:
            continue
        cells = tuple(
            tuple(part.difference_cell(label, each.reference, None, words=False) for part in at)
            for label in each.labels
        )
        caption = f"Row minus {each.reference} at the same labels, mean over tasks, as above."
        grid = Grid("row", "labels", headings, each.labels, cells, f"{scores.metric}: difference to {each.reference}")
        blocks += [paragraph(caption), *fitting([grid])]
    return blocks


def _selection(frame: pd.DataFrame, suite) -> list[Block]:
    present = set(frame["rule"])
    rules = tuple(rule for rule in (suite.rules or RULES) if rule in present)
    if not rules:
        return []
    scores = {rule: Scores.of(frame, suite, suite.metric, rule) for rule in rules}
    headings = tuple(f"{rule} (upper bound)" if RULES[rule].is_oracle else rule for rule in rules)

    def cell(rule: str, label: str) -> str:
        return scores[rule].cell(label, None, spread=False)

    cells = tuple(tuple(cell(rule, label) for rule in rules) for label in _labels(suite))
    grid = Grid("row", "rule", headings, _labels(suite), cells, f"{suite.metric}, mean over tasks by selection rule")
    what = "; ".join(f"`{rule}` {_reads(rule)}" for rule in rules)
    caption = f"Mean over tasks of {suite.metric} on target_test of the epoch that each rule chooses. {what}."
    return [Heading("Selection rules"), paragraph(caption), *fitting([grid])]


def _other_metrics(frame: pd.DataFrame, suite) -> list[Block]:
    metrics = tuple(dict.fromkeys((suite.metric, *suite.metrics)))
    if len(metrics) < 2:
        return []
    scores = {metric: Scores.of(frame, suite, metric) for metric in metrics}
    cells = tuple(tuple(scores[metric].cell(label, None) for metric in metrics) for label in _labels(suite))
    headings = tuple(_heading(METRICS[metric]) for metric in metrics)
    grid = Grid("row", "metric", headings, _labels(suite), cells, "All metrics, mean over tasks")
    caption = "Mean over tasks ± standard deviation over seeds, on target_test, each run's own selection rule."
    return [Heading("All metrics"), paragraph(caption), *fitting([grid])]


def _heading(metric) -> str:
    better = "higher" if metric.higher_is_better else "lower"
    return f"{metric.name} ({'%, ' if metric.percent else ''}{better} is better)"


def _oracle(frame: pd.DataFrame, suite) -> list[Block]:
    scores = Scores.of(frame, suite, suite.metric, "oracle")
    if scores.empty():
        return []
    heading, *tables = _main(scores, suite, "Upper bound (`oracle`): the epoch chosen on target test labels")
    caption = (
        "No result to compare with: this rule reads the very labels that are then scored. "
        "It bounds what a better selection rule could reach."
    )
    return [heading, paragraph(caption), *tables]
