"""The result record of one run: its schema, its atomic write, and reading back a folder of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tl_research.errors import DataError
from tl_research.files import write_atomically

SCHEMA = 1
STATUSES = ("ok", "failed", "oom", "timeout", "diverged")
RECORD_FILE = "result.json"
HISTORY_FILE = "history.jsonl"


@dataclass
class Record:
    """What one run leaves behind; the only thing that tables are made from.

    Fields:
        metrics: rule -> {"epoch": e, "<split>/<metric>": value}; splits are source_val, source_test,
            target_val (settings with target labels only) and target_test. A metric that has no value
            (AUROC of a one-class split) is absent.
        throughput: train_samples_per_s, step_ms_p50, step_ms_p95, predict_samples_per_s.
        resources: parameters, trainable_parameters, peak_memory_mb (of training); of predicting flops_per_row,
            predict_ms_p50 and predict_ms_p95 (one row at a time; see `evaluation.resources`), size_mb of `model.ckpt`.
        data: rows a split, target labels used, rows dropped, and other facts of the data set.
    """

    run_id: str
    status: str
    method: str
    family: str
    setting: str
    task: dict[str, Any]  # suite, dataset, sources, target
    seed: int
    config: dict[str, Any]
    shots: float | None = None
    selection_rule: str = "last"
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    throughput: dict[str, float] = field(default_factory=dict)
    resources: dict[str, float] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    started: str = ""
    seconds: float = 0.0
    message: str = ""  # why a run that is not ok ended
    schema: int = SCHEMA


def blank_record(config: DictConfig, *, run_id: str, suite: str, family: str) -> Record:
    """Return the record of a run that has not ended: what it is, with the status `failed` until it says otherwise."""
    data = config.data
    return Record(
        run_id=run_id,
        status="failed",
        method=config.method.name,
        family=family,
        setting=data.setting,
        shots=data.shots,
        task={"suite": suite, "dataset": data.name, "sources": list(data.sources), "target": data.target},
        seed=config.seed,
        config=OmegaConf.to_container(config, resolve=True),
        selection_rule=config.selection.rule,
    )


def write_record(folder: str | Path, record: Record) -> Path:
    """Write `folder/result.json`. A record that is `ok` is never replaced."""
    if record.status not in STATUSES:
        raise ValueError(f"status: got {record.status!r}, wants one of {STATUSES}")
    path = Path(folder) / RECORD_FILE
    present = read_record(folder)
    if present is not None and present.status == "ok":
        raise FileExistsError(f"{path} holds a finished run")
    for rule, values in record.metrics.items():
        for name, value in values.items():
            if not math.isfinite(value):
                raise ValueError(f"metrics.{rule}.{name} is {value}")
    write_atomically(path, json.dumps(asdict(record), indent=1, allow_nan=False) + "\n")
    return path


def read_record(folder: str | Path) -> Record | None:
    """Read the record of one run folder; None where there is none yet."""
    path = Path(folder) / RECORD_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DataError(f"{path}: not a result record ({error}); remove the file to run it again") from None
    known = Record.__dataclass_fields__
    try:
        return Record(**{name: value for name, value in values.items() if name in known})
    except (AttributeError, TypeError) as error:
        raise DataError(f"{path}: not a result record ({error}); remove the file to run it again") from None


def read_records(root: str | Path) -> list[Record]:
    """Read every record below `root`, sorted by run_id."""
    return sorted((r for r in _walk(Path(root)) if r is not None), key=lambda r: r.run_id)


def _walk(root: Path) -> Iterator[Record | None]:
    for path in root.glob(f"*/{RECORD_FILE}"):
        yield read_record(path.parent)


def write_history(folder: str | Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write the per-epoch history, one JSON object a line."""
    text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
    write_atomically(Path(folder) / HISTORY_FILE, text)


def read_history(folder: str | Path) -> list[dict[str, Any]]:
    """Read the per-epoch history; empty where there is none."""
    path = Path(folder) / HISTORY_FILE
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
