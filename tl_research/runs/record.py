"""The result record of one run: its schema, its atomic write, and reading back a folder of them."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import types
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf

from tl_research.errors import DataError
from tl_research.registry import RULES
from tl_research.storage.files import write_atomically

SCHEMA = 1
STATUSES = ("ok", "failed", "oom", "timeout", "diverged")
RECORD_FILE = "result.json"
HISTORY_FILE = "history.jsonl"


class BrokenRecord(DataError):
    """A `result.json` that is no record of this version; the message names the file, the field and the way out."""


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
        data: rows per split, target labels used, rows dropped, and other facts of the data set.
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


def write_record(folder: str | Path, record: Record, *, replaces: bool = False) -> Path:
    """Write `folder/result.json`. A record that is `ok` is never replaced.

    Args:
        folder: of the run.
        record: to write.
        replaces: whether an `ok` record gives way to this one, which must be `ok` too: where the weights of a finished
            run are gone and it was carried out again, the record must be of the weights beside it.

    Raises:
        ValueError: a status that there is not, or a figure that is not finite.
        FileExistsError: the folder holds the record of a finished run.
    """
    if record.status not in STATUSES:
        raise ValueError(f"status: got {record.status!r}, wants one of {STATUSES}")
    path = Path(folder) / RECORD_FILE
    present = read_record(folder)
    if present is not None and present.status == "ok" and not (replaces and record.status == "ok"):
        raise FileExistsError(f"{path} holds a finished run")
    for rule, values in record.metrics.items():
        for name, value in values.items():
            if not math.isfinite(value):
                raise ValueError(f"metrics.{rule}.{name} is {value}")
    write_atomically(path, json.dumps(asdict(record), indent=1, allow_nan=False) + "\n")
    return path


def read_record(folder: str | Path) -> Record | None:
    """Read the record of one run folder; None where there is none yet.

    Raises:
        BrokenRecord: it cannot be read, or a field of it is missing or not of its type; `Record` says the types.
    """
    path = Path(folder) / RECORD_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
        return _record(values)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BrokenRecord(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise BrokenRecord(f"{path}: not a result record ({reason}); remove the file to run it again") from None


def read_records(root: str | Path) -> list[Record]:
    """Read every record below `root`, sorted by run_id.

    Raises:
        BrokenRecord: one of them is broken.
    """
    records, broken = readable_records(root)
    if broken:
        raise next(iter(broken.values()))
    return records


def readable_records(root: str | Path) -> tuple[list[Record], dict[str, BrokenRecord]]:
    """Read every record below `root`, sorted by run_id, and say which cannot be read.

    Returns:
        The records that can be read; and folder name -> what is wrong with its record. A record of another run than
        its folder is named after is wrong too, since it would count twice.
    """
    records, broken = [], {}
    for path in sorted(Path(root).glob(f"*/{RECORD_FILE}")):
        try:
            record = read_record(path.parent)
            if record is not None:
                check_owner(path.parent, record)
                records.append(record)
        except BrokenRecord as error:
            broken[path.parent.name] = error
    return sorted(records, key=lambda record: record.run_id), broken


def check_owner(folder: str | Path, record: Record) -> None:
    """Raise `BrokenRecord` where a run's folder, which bears its run_id, holds the record of another run."""
    folder = Path(folder)
    if record.run_id != folder.name:
        raise BrokenRecord(
            f"{folder / RECORD_FILE}: is the record of run {record.run_id!r}, not of the run that its folder is named "
            "after; remove the file to run it again"
        )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}, which is no number")


def _record(values: Any) -> Record:
    """Return the record that JSON values make; `ValueError` names the field that is missing or of another type."""
    if not isinstance(values, dict):
        raise ValueError(f"it holds {_shown(values)}, wants an object of fields")
    schema = values.get("schema")
    if isinstance(schema, bool) or schema != SCHEMA:
        raise ValueError(f"schema: got {_shown(schema)}, this version reads {SCHEMA}")
    kinds = _field_types()
    for item in dataclasses.fields(Record):
        if item.name in values:
            _check_type(item.name, values[item.name], kinds[item.name])
        elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            raise ValueError(f"{item.name}: missing")
    record = Record(**{name: value for name, value in values.items() if name in kinds})
    _check_content(record)
    return record


def _check_content(record: Record) -> None:
    """What the types leave open and readers rely on."""
    _one_of("status", record.status, STATUSES)
    _one_of("selection_rule", record.selection_rule, ("auto", *RULES))
    for name, kind in (("sources", list[str]), ("target", str), ("dataset", str), ("suite", str)):
        if name in record.task:
            _check_type(f"task.{name}", record.task[name], kind)
        elif name in ("sources", "target"):
            raise ValueError(f"task.{name}: missing")
    for rule, values in record.metrics.items():
        _one_of("metrics", rule, RULES)
        if "epoch" not in values:
            raise ValueError(f"metrics.{rule}.epoch: missing")
    if record.metrics and record.selection_rule not in record.metrics:
        raise ValueError(f"metrics.{record.selection_rule}: missing, and it is the run's own selection rule")
    _check_type("data.remarks", record.data.get("remarks", []), list[str])
    _check_type("data.rows", record.data.get("rows", {}), dict[str, int])
    _check_test_facts(record.data)


def _check_test_facts(data: dict[str, Any]) -> None:
    """Refuse what cannot be said of the test rows (`evaluation.evidence`)."""
    if "test" not in data:
        return
    kinds = {"rows": int, "metric": str, "level": float, "interval": dict[str, list[float]]}
    _check_type("data.test", data["test"], dict)
    for name, kind in kinds.items():
        if name not in data["test"]:
            raise ValueError(f"data.test.{name}: missing")
        _check_type(f"data.test.{name}", data["test"][name], kind)
    for rule, ends in data["test"]["interval"].items():
        if len(ends) != 2:
            raise ValueError(f"data.test.interval.{rule}: got {len(ends)} numbers, wants both ends")
    _check_type("data.test.classes", data["test"].get("classes", {}), dict[str, int])


def _one_of(key: str, got: str, known: Iterable[str]) -> None:
    if got not in known:
        raise ValueError(f"{key}: got {got!r}, wants one of {', '.join(known)}")


@cache
def _field_types() -> dict[str, Any]:
    return get_type_hints(Record)


def _check_type(key: str, value: Any, kind: Any) -> None:
    """Raise `ValueError` unless a JSON value is of a type such as `float | None` or `dict[str, list[int]]`."""
    if get_origin(kind) in (Union, types.UnionType):
        if value is None:
            return
        (kind,) = (member for member in get_args(kind) if member is not type(None))
    if kind is Any:
        return
    origin, inner = get_origin(kind) or kind, get_args(kind)
    wants = (int, float) if origin is float else origin
    # In JSON true is no number.
    if not isinstance(value, wants) or isinstance(value, bool):
        raise ValueError(f"{key}: got {_shown(value)}, wants {_NAMES[origin]}")
    if origin is float and not abs(value) <= sys.float_info.max:
        raise ValueError(f"{key}: got {_shown(value)}, wants a finite number")
    if origin is list and inner:
        for number, member in enumerate(value):
            _check_type(f"{key}[{number}]", member, inner[0])
    if origin is dict and inner:
        for name, member in value.items():
            _check_type(f"{key}.{name}", member, inner[1])


_NAMES = {str: "text", int: "a whole number", float: "a number", dict: "an object", list: "a list"}


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def write_history(folder: str | Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write the per-epoch history, one JSON object per line."""
    text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
    write_atomically(Path(folder) / HISTORY_FILE, text)


def read_history(folder: str | Path) -> list[dict[str, Any]]:
    """Read the per-epoch history; empty where there is none.

    Raises:
        DataError: a line is no object with an `epoch`, or the file cannot be read; names file and line.
    """
    path = Path(folder) / HISTORY_FILE
    rows: list[dict[str, Any]] = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line, parse_constant=_refuse_constant)
            _check_type("the row", row, dict)
            _check_type("epoch", row.get("epoch"), int)
            rows.append(row)
        return rows
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        where, way_out = f"{path}, line {len(rows) + 1}", "remove the file, which no table is made of"
        raise DataError(f"{where}: not a row of a history ({reason}); {way_out}") from None
