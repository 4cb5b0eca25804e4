"""The user's own files: one a domain, or one with a column that names the domain."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from tl_research.config import DataConfig, check, check_choice
from tl_research.data.audit import audit
from tl_research.data.domain import Domain
from tl_research.data.readers.domain_file import LabelledRows, class_names, read_rows, task_of, to_domain
from tl_research.data.readers.features import ENDINGS
from tl_research.errors import ConfigError, DataError, nearest
from tl_research.registry import TARGETS, register_dataset


@dataclass
class FilesConfig(DataConfig):
    """Group `data` of `files`.

    `sources` and `target` are files; or, with `path` and `domain_column`, values of that column of that file.
    `label` is the label column (npz: its key, y by default).
    """

    name: str = "files"
    path: str | None = None  # one file for all domains
    domain_column: str | None = None  # its column that names the domain
    drop: list[str] = field(default_factory=list)  # columns to leave out
    categorical: list[str] = field(default_factory=list)  # columns that are categories though they look like numbers
    task: str = "auto"  # class, regression, or auto: by the label's values, see `task_of`

    def __post_init__(self):
        super().__post_init__()
        check_choice("data.task", self.task, ("auto", *TARGETS))
        together = (self.path is None) == (self.domain_column is None)
        key = "data.domain_column" if self.domain_column is None else "data.path"
        check(together, key, None, "a value: data.path (one file for all domains) and data.domain_column go together")
        tables = [path for path in file_paths(self) if not path.lower().endswith(ENDINGS)]
        if tables and self.label is None:
            raise ConfigError(f"data.label: missing; which column of {tables[0]} is the label?")


@register_dataset(
    "files",
    config=FilesConfig,
    domains=(),
    metric="accuracy",
    encoder="tabular",
    paper="your own data",
)
def load(config: FilesConfig, names: list[str]) -> dict[str, Domain]:
    """Your own files (csv, parquet, npz): one file a domain, or one file with a domain column.

    Whether the label is a class or a number is `data.task`, or by its values (`domain_file.task_of`).
    Classes are the values of the label in all files, which must agree; numbers sort by value and text by
    alphabet (0, 1; no, yes; false, true), the last being the positive class. Source rows need a label. Target
    rows may lack one: they train as unlabelled rows, and the labelled ones give the test rows and the shown labels.
    Rows that are the same are kept, and counted for the record.
    """
    rows = _labelled_rows(config, names)
    _refuse_different_kinds(list(rows.values()))
    for name, part in rows.items():
        if name != config.target and part.label is not None:
            part.refuse_missing_labels()
    parts = list(rows.values())
    classes = () if _task(config, parts) == "regression" else class_names(parts)
    domains = {name: to_domain(part, classes, name) for name, part in rows.items()}
    audit(domains, config.target)
    return domains


def task_of_files(config: FilesConfig) -> str:
    """Read the files and say what their label is: `class` or `regression`; as `load` will."""
    return _task(config, list(_labelled_rows(config, [*config.sources, config.target]).values()))


def _labelled_rows(config: FilesConfig, names: list[str]) -> dict[str, LabelledRows]:
    return _split_file(config, names) if config.path is not None else _one_file_each(config, names)


def _task(config: FilesConfig, parts: list[LabelledRows]) -> str:
    return task_of(parts) if config.task == "auto" else config.task


def file_paths(config: FilesConfig) -> list[str]:
    """Files that the configuration names."""
    return [config.path] if config.path is not None else [*config.sources, config.target]


def fingerprint(config: FilesConfig) -> str:
    """Hash the bytes of the files, in the order of the configuration; empty where one is missing."""
    digest = hashlib.sha256()
    for name in file_paths(config):
        path = Path(name).expanduser()
        if not path.is_file():
            return ""
        stat = path.stat()
        digest.update(_sha256(str(path), stat.st_size, stat.st_mtime_ns))
    return digest.hexdigest()


load.files = []
load.fingerprint = fingerprint


@lru_cache(maxsize=64)
def _sha256(path: str, size: int, modified: int) -> bytes:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _one_file_each(config: FilesConfig, names: list[str]) -> dict[str, LabelledRows]:
    seen: dict[Path, str] = {}
    for name in names:
        path = Path(name).expanduser().resolve()
        if path in seen:
            raise ConfigError(f"data.sources, data.target: {seen[path]} and {name} are the same file")
        seen[path] = name
    return {name: _read(config, name)[0] for name in names}


def _split_file(config: FilesConfig, names: list[str]) -> dict[str, LabelledRows]:
    rows, domain = _read(config, config.path)
    known = sorted(pd.unique(domain))
    parts = {}
    for name in names:
        own = _spelled_as(name, known)
        if own not in known:
            key = "data.target" if name == config.target else "data.sources"
            raise ConfigError(
                f"{key}: {config.path} has no {name!r} in its column {config.domain_column!r}{nearest(name, known)}"
            )
        parts[name] = rows.take(domain == own, f"{config.path} ({config.domain_column}={name})")
    return parts


def _spelled_as(name: str, known: list[str]) -> str:
    """The domain that a name means: itself, or the one flag (true, false) that is the same but for its capitals."""
    same = [domain for domain in known if domain.lower() == name.lower()]
    flag = name not in known and name.lower() in ("true", "false") and len(same) == 1
    return same[0] if flag else name


def _read(config: FilesConfig, path: str) -> tuple[LabelledRows, np.ndarray | None]:
    return read_rows(
        Path(path).expanduser(),
        config.label,
        # Rows of the target may lack a label: they train unlabelled. Sources are held to theirs by the DataModule.
        label_required=config.path is None and path != config.target,
        drop=config.drop,
        categorical=config.categorical,
        domain_column=config.domain_column,
    )


def _refuse_different_kinds(files: list[LabelledRows]) -> None:
    first = files[0]
    for other in files[1:]:
        tables = [isinstance(rows.inputs, pd.DataFrame) for rows in (first, other)]
        if tables[0] != tables[1]:
            kind = {True: "a table", False: "a feature matrix"}
            raise DataError(f"{first.origin} is {kind[tables[0]]} and {other.origin} is {kind[tables[1]]}")
        if tables[0]:
            _refuse_different_columns(first, other)
        elif first.inputs.shape[1] != other.inputs.shape[1]:
            widths = first.inputs.shape[1], other.inputs.shape[1]
            raise DataError(f"{first.origin} has {widths[0]} features and {other.origin} has {widths[1]}")


def _refuse_different_columns(first: LabelledRows, other: LabelledRows) -> None:
    for one, two in ((first, other), (other, first)):
        lacking = [name for name in one.inputs.columns if name not in two.inputs.columns]
        if lacking:
            raise DataError(
                f"{two.origin} lacks the columns {', '.join(map(repr, lacking))}, which {one.origin} has"
                f"{nearest(lacking[0], two.inputs.columns)}; mend the file, or list them in data.drop"
            )
    for name in first.inputs.columns:
        columns = [rows.inputs[name] for rows in (first, other)]
        if any(column.isna().all() for column in columns):
            continue
        texts = [column.dtype == object for column in columns]
        if texts[0] != texts[1]:
            text, number = (first, other) if texts[0] else (other, first)
            column = text.inputs[name]
            row = int(column.notna().to_numpy().argmax())
            raise DataError(
                f"{text.origin}, row {row + 1}, column {name!r}: {column.iloc[row]!r} is text, but {number.origin} "
                "holds numbers there; mend the file, or list the column in data.categorical or data.drop"
            )
