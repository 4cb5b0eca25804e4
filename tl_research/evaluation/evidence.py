"""What stands behind a figure: rows and classes it was measured on, how sure it is, and what speaks against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tl_research.data.label_kinds import kind_of
from tl_research.metrics.intervals import LEVEL, class_interval

#: Rows in all, and of a class of two, below which a figure is called unsure.
FEW_ROWS, FEW_OF_CLASS = 30, 10
#: AUROC below which, and below one half with all of its interval, the ranking is called backwards.
BACKWARDS = 0.4
#: Classes that a line names with their rows.
LISTED = 6


def counts_of(label: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Return `{"rows": n, "classes": {name: n of it}}`; without `classes` for numbers."""
    sizes = dict(zip(classes, kind_of(classes).sizes(np.asarray(label)).tolist()))
    return {"rows": len(label)} | ({"classes": sizes} if sizes else {})


def evidence_of_tests(
    metrics: Mapping[str, Mapping[str, float]],
    label: np.ndarray,
    classes: Sequence[str],
    metric: str,
    intervals: Mapping[int, Sequence[float]],
) -> dict[str, Any]:
    """Return what a record keeps under `data.test`: rows, rows of each class, and the interval of every rule's figure.

    Args:
        metrics: rule -> `epoch` and `<split>/<metric>`, as in a record.
        label: (n,) of the target's test rows.
        classes: their names; empty for numbers.
        metric: the metric with an interval, see `Outcome.shown_metric`.
        intervals: epoch -> ends (`Evaluator.intervals`).
    """
    ends = {
        rule: intervals.get(int(values["epoch"]))
        for rule, values in metrics.items()
        if f"target_test/{metric}" in values
    }
    return _facts(label, classes, metric, ends)


def evaluated(label: np.ndarray, classes: Sequence[str], metric: str, ends: Sequence[float] | None) -> dict[str, Any]:
    """Return the same for the rows of a file, with the ends of its figure's interval."""
    return _facts(label, classes, metric, {"file": ends})


def _facts(
    label: np.ndarray, classes: Sequence[str], metric: str, ends: Mapping[str, Sequence[float] | None]
) -> dict[str, Any]:
    intervals = {rule: [float(end) for end in pair] for rule, pair in ends.items() if pair is not None}
    return counts_of(label, classes) | {"metric": metric, "level": LEVEL, "interval": intervals}


def rows_said(facts: Mapping[str, Any]) -> str:
    """Return `50 rows (no 30, yes 20)`."""
    rows = f"{facts['rows']:,} row{'' if facts['rows'] == 1 else 's'}"
    sizes = list(facts.get("classes", {}).items())
    if not sizes:
        return rows
    more = f", {len(sizes) - LISTED} more classes" if len(sizes) > LISTED else ""
    return f"{rows} ({', '.join(f'{name} {size:,}' for name, size in sizes[:LISTED])}{more})"


def figure_said(facts: Mapping[str, Any], rule: str, value: float | None) -> str:
    """Return `accuracy 0.7200, 95 % interval 0.5833 to 0.8253`; empty where the metric has no value."""
    if value is None:
        return ""
    ends = facts["interval"].get(rule)
    said = f"{facts['metric']} {value:.4f}"
    return said if ends is None else f"{said}, {100 * facts['level']:.0f} % interval {ends[0]:.4f} to {ends[1]:.4f}"


def record_said(record) -> str:
    """Return the line of a record's test rows and figure; empty for a record of before it was kept."""
    facts = record.data.get("test")
    chosen = record.metrics.get(record.selection_rule)
    if not facts or chosen is None:
        return ""
    figure = figure_said(facts, record.selection_rule, chosen.get(f"target_test/{facts['metric']}"))
    return f"target_test: {rows_said(facts)}" + (f"; {figure}" if figure else "")


def remarks_on(facts: Mapping[str, Any], rule: str, metrics: Mapping[str, float], where: str) -> list[str]:
    """Say what speaks against taking the figures as they stand: few rows, one class only, a ranking that is backwards.

    Args:
        facts: from `evidence_of_tests` or `evaluated`.
        rule: whose figure it is (`file` of `evaluated`).
        metrics: metric -> value.
        where: file or domain of the rows, for the sentence.
    """
    sizes = facts.get("classes", {})
    present = [name for name, size in sizes.items() if size]
    remarks = []
    rarest = min((size for size in sizes.values() if size), default=facts["rows"])
    if facts["rows"] < FEW_ROWS or (len(sizes) == 2 and len(present) == 2 and rarest < FEW_OF_CLASS):
        figure = figure_said(facts, rule, metrics.get(facts["metric"]))
        remarks.append(
            f"few rows to measure on: {rows_said(facts)} of {where}"
            + (f"; {figure}" if figure else "")
            + f" (wants {FEW_ROWS} rows or more, {FEW_OF_CLASS} of each of two classes)"
        )
    if sizes and len(present) == 1:
        remarks.append(
            f"every measured row of {where} is of class {present[0]!r}: AUROC has no value, and accuracy says nothing "
            "of the other classes"
        )
    auroc, accuracy = metrics.get("auroc"), metrics.get("accuracy")
    counts = list(sizes.values())
    if len(sizes) == 2 and auroc is not None:
        ends = class_interval("auroc", auroc, counts)
        if auroc < BACKWARDS and ends is not None and ends[1] < 0.5:
            remarks.append(
                f"AUROC {auroc:.2f} on {where}: its rows are ranked backwards; is the label coded the other way round "
                "there than in the sources?"
            )
    elif len(sizes) > 2 and len(present) > 1 and accuracy is not None:
        ends = class_interval("accuracy", accuracy, counts)
        chance = 1 / len(present)
        if ends is not None and ends[1] < chance and metrics.get("balanced_accuracy", 1.0) < 0.8 * chance:
            remarks.append(
                f"accuracy {accuracy:.2f} on {where} is worse than chance ({chance:.2f}): are the classes coded "
                "otherwise there than in the sources?"
            )
    return remarks


def add_to_record(record, evaluator) -> None:
    """Fill `record.data["test"]`, and add what speaks against its figures to `record.data["remarks"]`."""
    label, names = evaluator.splits["target_test"].label.numpy(), evaluator.outcome.names
    facts = evidence_of_tests(record.metrics, label, names, evaluator.shown, evaluator.intervals)
    record.data["test"] = facts
    chosen = record.metrics.get(record.selection_rule)
    if chosen is None:
        return
    figures = {
        key.removeprefix("target_test/"): value for key, value in chosen.items() if key.startswith("target_test/")
    }
    found = remarks_on(facts, record.selection_rule, figures, f"the test rows of {record.task['target']}")
    # A class without a test row has been named already, with its rows in all.
    found = [line for line in found if not line.startswith("every measured row")]
    if found:
        record.data["remarks"] = [*record.data.get("remarks", ()), *found]
