"""The foot of a suite's page: how it was made, what is missing, and where it ran."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tl_research.evaluation.evidence import FEW_OF_CLASS, FEW_ROWS
from tl_research.report.layout import Block, Heading, Text
from tl_research.runs.record import STATUSES, Record
from tl_research.storage.shipped import SUITES, name_of

#: What records of before a field was written would have in it.
UNWRITTEN = {"processes": 1}


def footer(frame: pd.DataFrame, suite, records: Sequence[Record]) -> list[Block]:
    """Return the blocks: command, counts, runs that failed, environment of the runs in the table."""
    cells = suite.cells()
    finished = set(frame["run_id"])
    by_id = {record.run_id: record for record in records}
    ended = [(cell, by_id[cell.run_id]) for cell in cells if cell.run_id in by_id and cell.run_id not in finished]
    broken = [(cell, record) for cell, record in ended if record.status != "ok"]
    ok = sum(cell.run_id in finished for cell in cells)
    missing = len(cells) - ok - len(broken)
    lines = [
        f"- Made by `tl-research benchmark {_shown_path(suite.path)}`",
        f"- Runs: {len(cells)} planned, {ok} ok, {len(broken)} failed, {missing} missing",
    ]
    for status in STATUSES:
        for cell, record in broken:
            if record.status == status:
                reason = record.message.split("\n")[0] or "no message"
                lines.append(f"  - {status}: {cell.label}, {cell.task}, seed {cell.seed} ({cell.run_id}): {reason}")
    lines += _test_rows([(cell.task, by_id[cell.run_id]) for cell in cells if cell.run_id in finished & by_id.keys()])
    lines += _environment([by_id[run] for run in sorted(finished) if run in by_id])
    return [Heading("How it was made"), Text("\n".join(lines))]


def _test_rows(runs: Sequence[tuple[str, Record]]) -> list[str]:
    """One line of how many rows each task is measured on, and a warning for each task where they are few."""
    sizes: dict[str, list[int]] = {}
    rarest: dict[str, list[int]] = {}
    for task, record in runs:
        rows = record.data.get("rows", {}).get("target_test")
        if rows is None:
            continue
        sizes.setdefault(task, []).append(int(rows))
        classes = record.data.get("test", {}).get("classes", {})
        if len(classes) == 2:
            rarest.setdefault(task, []).append(min(classes.values()))
    if not sizes:
        return []
    lines = ["- Test rows of the target: " + ", ".join(f"{task} {_span(rows)}" for task, rows in sizes.items())]
    for task, rows in sizes.items():
        small = min(rarest.get(task, [FEW_OF_CLASS]))
        if min(rows) < FEW_ROWS or small < FEW_OF_CLASS:
            rare = f", {small} of the rarer class" if small < FEW_OF_CLASS else ""
            lines.append(
                f"  - **few test rows**: {task} has {min(rows)}{rare} (wants {FEW_ROWS}, and {FEW_OF_CLASS} of each of "
                "two classes): its figures are less sure than the spread over seeds says"
            )
    return lines


def _span(rows: Sequence[int]) -> str:
    return f"{min(rows):,}" if min(rows) == max(rows) else f"{min(rows):,} to {max(rows):,}"


def _shown_path(path: Any) -> str:
    """Relative to the current folder, or the name alone: a page must not name folders of one machine."""
    path = Path(path)
    if not path.is_absolute():
        return path.as_posix()
    relative = Path(os.path.relpath(path))
    return (name_of(path, SUITES) or path.name) if ".." in relative.parts else relative.as_posix()


def _environment(records: Sequence[Record]) -> list[str]:
    if not records:
        return []
    names = dict.fromkeys(name for record in records for name in record.environment if name != "dirty")
    parts = []
    for name in names:
        values = sorted({str(record.environment.get(name, UNWRITTEN.get(name))) for record in records})
        parts.append(f"{name} {values[0]}" if len(values) == 1 else f"{name} mixed ({', '.join(values)})")
    lines = [f"- Environment: {', '.join(parts)}"]
    dirty = sum(bool(record.environment.get("dirty")) for record in records)
    if dirty:
        which = "all runs" if dirty == len(records) else f"{dirty} of {len(records)} runs"
        lines.append(f"- Uncommitted changes: {which} ran on code that differs from the commit")
    return lines
