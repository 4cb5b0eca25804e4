"""Records to one long frame, and the frame to a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from scipy.stats import norm

from tl_research.registry import RULES
from tl_research.report.statistics import Evidence
from tl_research.runs.record import Record, write_atomically

CSV_COLUMNS = (
    "suite", "dataset", "sources", "target", "setting", "shots", "method", "family", "seed", "rule", "split", "metric",
    "value", "run_id",
)  # fmt: skip
#: label and task: the suite's names of the row and the task. selected: this rule is the run's own selection rule.
COLUMNS = (*CSV_COLUMNS, "label", "task", "selected")
#: evidence: what stands behind the value (`statistics.Evidence`); it is not in the file.
FRAME_COLUMNS = (*COLUMNS, "evidence")
SPLITS = ("source_val", "source_test", "target_val", "target_test")


def collect(records: Iterable[Record], suite) -> pd.DataFrame:
    """Return every metric of every finished run of a suite: one row a cell, rule, split and metric.

    Args:
        records: of any runs; those that are not cells of the suite, or did not end `ok`, are passed over.
        suite: from `benchmark.suite.load_suite`.

    Returns:
        A frame with `FRAME_COLUMNS`, in the suite's order of rows, tasks and seeds, whatever order the records come in.
    """
    finished = {record.run_id: record for record in records if record.status == "ok"}
    rows = []
    for cell in suite.cells():
        record = finished.get(cell.run_id)
        if record is None:
            continue
        run = (
            suite.name, record.task.get("dataset", ""), "+".join(record.task["sources"]), record.task["target"],
            record.setting, record.shots, record.method, record.family, record.seed,
        )  # fmt: skip
        for rule in sorted(record.metrics, key=list(RULES).index):
            for key in sorted(record.metrics[rule], key=_split_order):
                split, slash, metric = key.partition("/")
                if slash and split in SPLITS:
                    value = float(record.metrics[rule][key])
                    selected = rule == record.selection_rule
                    evidence = _evidence(record, rule, metric) if split == "target_test" else None
                    rows.append(
                        (*run, rule, split, metric, value, record.run_id, cell.label, cell.task, selected, evidence)
                    )
    return pd.DataFrame(rows, columns=list(FRAME_COLUMNS))


def to_csv(frame: pd.DataFrame) -> str:
    """Return the frame as CSV text, values to 6 decimals."""
    rounded = frame[list(COLUMNS)].assign(value=frame["value"].astype(float).round(6))
    return rounded.to_csv(index=False, lineterminator="\n")


def write_csv(frame: pd.DataFrame, path: str | Path) -> None:
    """Write the frame as a CSV file, whole or not at all."""
    write_atomically(path, to_csv(frame))


def _evidence(record: Record, rule: str, metric: str) -> Evidence:
    """Return what a record says of the test rows behind a figure."""
    test = record.data.get("test", {})
    own = test.get("metric") == metric
    ends = test.get("interval", {}).get(rule) if own else None
    error = None if ends is None else (ends[1] - ends[0]) / (2 * norm.ppf((1 + test["level"]) / 2))
    without = test.get("without") if own and rule == record.selection_rule else None
    return Evidence(_test_share(record), error, None if without is None else tuple(without))


def _test_share(record: Record) -> float | None:
    """Return the share of the labelled target rows that a seed draws to test on, 1 where they are always the same.

    Records of before it was written: the test rows are taken as drawn where their number is that share of all.
    """
    share = record.data.get("test_share")
    if isinstance(share, (int, float)):
        return float(share)
    rows = record.data.get("rows", {})
    if "target_test" not in rows:
        return None
    config = record.config.get("data", {})
    share = config.get("test_fraction", 1.0)
    total = sum(rows.get(split, 0) for split in ("target", "target_val", "target_test"))
    drawn = not config.get("transductive") and abs(rows["target_test"] - share * total) <= 1
    return share if drawn else 1.0


def _split_order(key: str) -> tuple[int, str]:
    split = key.partition("/")[0]
    return (SPLITS.index(split) if split in SPLITS else len(SPLITS), key)
