"""The user's own files: one per domain, or one with a column that names the domain."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tl_research.config import DataConfig, added_later, check, check_choice
from tl_research.data.audit import audit, refuse_too_few
from tl_research.data.audit.population import left_out
from tl_research.data.catalog._kinds import bound_categories, settle_texts
from tl_research.data.catalog._left_out import (
    identifiers_among,
    leave_out_identifiers,
    leave_out_unknown_columns,
    leave_out_unshared,
)
from tl_research.data.catalog._sampling import sampling_of, sampling_of_domains, spelled_as
from tl_research.data.content import SPLIT_RULE, content_digest, file_digest, is_same_file
from tl_research.data.domain import Domain
from tl_research.data.readers.cells import nfc
from tl_research.data.readers.class_sets import united_classes
from tl_research.data.readers.domain_file import (
    LabelledRows,
    domains_of,
    read_raw,
    task_of,
    to_domain,
    typed_rows,
)
from tl_research.data.readers.features import ENDINGS, widest, with_columns
from tl_research.data.readers.paths import local_path
from tl_research.data.readers.said import columns_said
from tl_research.data.readers.sampling import Sampling
from tl_research.data.readers.schema import RawRows, Wishes, decide_schema
from tl_research.data.readers.tabular import CSV_ENDINGS, PARQUET_ENDINGS, require_column
from tl_research.errors import ConfigError, DataError, nearest
from tl_research.registry import SOURCE_FREE, TARGETS, register_dataset

#: The smallest sample of a file.
FEWEST_ROWS = 100


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
    task: str = added_later("auto")  # class, regression, or auto: by the label's values, see `task_of`
    schema: dict[str, Any] | None = added_later(None, from_file=True)  # column: number, category, ...; or a YAML file
    missing: list[str] | None = added_later(None)  # further words that mean "no value"
    rows: int | None = added_later(None)  # at most so many of each file are read, at random, labelled target rows first
    rows_seed: int = added_later(0)  # of that draw

    def __post_init__(self):
        super().__post_init__()
        self.wishes()
        check_choice("data.task", self.task, ("auto", *TARGETS))
        check(self.rows is None or self.rows >= FEWEST_ROWS, "data.rows", self.rows, f"{FEWEST_ROWS} or more")
        check(self.rows_seed >= 0, "data.rows_seed", self.rows_seed, "0 or more")
        together = (self.path is None) == (self.domain_column is None)
        key = "data.domain_column" if self.domain_column is None else "data.path"
        check(together, key, None, "a value: data.path (one file for all domains) and data.domain_column go together")
        for path in file_paths(self):
            local_path(path)
        tables = [path for path in file_paths(self) if not path.lower().endswith(ENDINGS)]
        unknown = [path for path in tables if not path.lower().endswith(CSV_ENDINGS + PARQUET_ENDINGS)]
        if unknown and self.label is None:
            ends = ", ".join(CSV_ENDINGS + PARQUET_ENDINGS + ENDINGS)
            raise ConfigError(f"data.sources, data.target: {unknown[0]}: wants a name that ends in {ends}")
        if tables and self.label is None:
            raise ConfigError(f"data.label: missing; which column of {tables[0]} is the label?")

    def wishes(self) -> Wishes:
        """What the user says of the columns.

        Raises:
            ConfigError: naming the full key, such as `data.schema.price.decimal`.
        """
        return Wishes.of(self.schema, self.categorical, self.missing, self.task)

    def content(self) -> str:
        """Hash the bytes of the files, in the order of the configuration; empty where one is missing.

        With `setting=source_free` a file of the source may be gone.
        """
        digest = hashlib.sha256(SPLIT_RULE)
        for name in file_paths(self):
            path = Path(os.path.expanduser(name))
            if not path.is_file() and self.setting == SOURCE_FREE and name in self.sources:
                continue
            if not path.is_file():
                return ""
            digest.update(file_digest(path))
        return digest.hexdigest()


@register_dataset(
    "files",
    config=FilesConfig,
    domains=(),
    metric="accuracy",
    encoder="tabular",
    paper="your own data",
)
def load(config: FilesConfig, names: list[str]) -> dict[str, Domain]:
    """Your own files (csv, parquet, npz): one file per domain, or one file with a domain column.

    Whether the label is a class or a number is `data.task`, or by its values (`domain_file.task_of`).
    Classes are the values of the label in all files together (`class_sets`); numbers sort by value and text by
    alphabet (0, 1; no, yes; false, true), the last being the positive class. Source rows need a label. Target
    rows may lack one: they train as unlabelled rows, and the labelled ones give the test rows and the shown labels.
    What each column is (number, category, date) is decided once, over all files, and kept with the model; `data.schema`
    decides it otherwise. Rows that are the same are kept, and counted for the record.
    """
    rows = _labelled_rows(config, names)
    _refuse_different_widths(list(rows.values()))
    refuse_too_few(rows[config.target])
    for name, part in rows.items():
        if name != config.target and part.label is not None:
            part.refuse_missing_labels()
    parts = list(rows.values())
    classes, remarks = united_classes(parts, config.task)
    rows[config.target].remarks = [*rows[config.target].remarks, *remarks]
    leave_out_unknown_columns([rows[name] for name in config.sources], rows[config.target])
    domains = {name: to_domain(part, classes, name) for name, part in rows.items()}
    # The split follows the rows, wherever the file lies and however its path is spelled.
    shared = None if config.path is None else content_digest(config.path)
    for name, domain in domains.items():
        domain.split_name = content_digest(name) if shared is None else f"{name}/{shared}"
    reasons = identifiers_among(domains, config.wishes().columns)
    audit(domains, config.target, reasons)
    leave_out_identifiers(domains, config.target, reasons)
    settle_texts(domains, config.target, config.wishes().columns)
    bound_categories(domains, config.target, config.wishes().columns)
    target = domains[config.target]
    if target.schema is not None and isinstance(target.inputs, pd.DataFrame):
        tables = [pd.DataFrame(domain.inputs) for domain in domains.values()]
        target.schema.said = columns_said(target.schema, tables, config.drop)
    return domains


def task_of_files(config: FilesConfig) -> str:
    """Read the files and say what their label is: `class` or `regression`; as `load` will."""
    rows = _labelled_rows(config, [*config.sources, config.target])
    return task_of(list(rows.values())) if config.task == "auto" else config.task


def _labelled_rows(config: FilesConfig, names: list[str]) -> dict[str, LabelledRows]:
    return _of_one_width(_split_file(config, names) if config.path is not None else _one_file_each(config, names))


def _of_one_width(parts: dict[str, LabelledRows]) -> dict[str, LabelledRows]:
    """A svmlight file names only columns that are not 0: all are as wide as the widest."""
    width = widest([(rows.origin, rows.inputs) for rows in parts.values()])
    for rows in parts.values() if width is not None else ():
        if (own := rows.inputs.shape[1]) < width:
            rows.inputs = with_columns(rows.inputs, width, rows.origin)
            rows.remarks.append(
                f"{rows.origin}: names the columns 0 to {own - 1}, other files up to {width - 1}: 0 here"
            )
    return parts


def file_paths(config: FilesConfig) -> list[str]:
    """Files that the configuration names."""
    return [config.path] if config.path is not None else [*config.sources, config.target]


load.files = []


def _one_file_each(config: FilesConfig, names: list[str]) -> dict[str, LabelledRows]:
    for at, name in enumerate(names):
        same = next((other for other in names[:at] if is_same_file(other, name)), None)
        if same is not None:
            raise ConfigError(f"data.sources, data.target: {same} and {name} are the same file")
    raws = {name: _read(config, name, sampling_of(config, name)) for name in names}
    _refuse_absent_columns(config, list(raws.values()))
    parts = dict(zip(names, read_together(list(raws.values()), config.wishes()), strict=True))
    for name, rows in parts.items():
        # Rows of the target may lack a label: they train unlabelled.
        if name != config.target:
            rows.refuse_missing_labels()
        rows.refuse_infinite_labels()
    return parts


def _split_file(config: FilesConfig, names: list[str]) -> dict[str, LabelledRows]:
    whole: dict[str, np.ndarray] = {}
    raw = _read(config, config.path, sampling_of_domains(config, names, whole))
    rows = read_together([raw], config.wishes())[0]
    rows.refuse_infinite_labels()
    domain = domains_of(raw, config.wishes().missing, rows.remarks)
    everywhere = whole.get("domain", domain)
    known = sorted(pd.unique(everywhere))
    parts = {}
    for name in names:
        own = spelled_as(name, known)
        if own not in known:
            key = "data.target" if name == config.target else "data.sources"
            raise ConfigError(
                f"{key}: {config.path} has no {name!r} in its column {config.domain_column!r}{nearest(name, known)}"
            )
        parts[name] = rows.take(domain == own, f"{config.path} ({config.domain_column}={name})")
    found = left_out(everywhere, [spelled_as(name, known) for name in names], config.path, config.domain_column)
    parts[config.target].remarks = [*parts[config.target].remarks, *found]
    return parts


def read_together(raws: Sequence[RawRows], wishes: Wishes) -> list[LabelledRows]:
    """Decide over all files how their columns are read, and read them; the remarks are with the first."""
    unshared = leave_out_unshared(raws)
    left = {name: wish for name, wish in wishes.columns.items() if wish.kind != "drop" or name not in unshared}
    schema = decide_schema(raws, replace(wishes, columns=left))
    schema.remarks += [schema.leave_out(name, why) for name, why in unshared.items()]
    for raw in raws:
        if raw.unread is not None:
            raw.unread.refuse_contradictions(schema, raw.origin, raw.label_name, typed=raw.typed)
    parts = [typed_rows(raw, schema) for raw in raws]
    parts[0].remarks = [*parts[0].remarks, *schema.remarks]
    return parts


def _read(config: FilesConfig, path: str, sampling: Sampling | None) -> RawRows:
    try:
        return read_raw(
            Path(os.path.expanduser(path)),
            config.label,
            label_required=config.path is None and path != config.target,
            drop=config.drop,
            categorical=config.categorical,
            domain_column=config.domain_column,
            columns_required=config.path is not None,
            choose=None if sampling is None else sampling.places,
        )
    except DataError as error:
        whole = None if Path(path).is_file() else _cut_at_commas(path, config.sources)
        if whole is None:
            raise
        raise DataError(f"{error}; {whole!r} is there: a name with a comma is quoted, data.sources={[whole]}") from None


def _refuse_absent_columns(config: FilesConfig, raws: Sequence[RawRows]) -> None:
    """Raise `DataError` for a column to be left out, or to be a category, that no file has."""
    for key, names in (("data.drop", config.drop), ("data.categorical", config.categorical)):
        for name in map(nfc, names):
            if not any(name in raw.dropped or name in raw.features.columns for raw in raws):
                require_column(raws[0].features, name, key, raws[0].origin)


def _cut_at_commas(name: str, names: Sequence[str]) -> str | None:
    """The file whose name was read as several, `name` being one of them; None where there is none."""
    for first in range(len(names)):
        for last in range(first + 2, min(len(names), first + 10) + 1):
            parts = names[first:last]
            whole = [glue.join(parts) for glue in (",", ", ") if name in parts]
            found = [text for text in whole if os.path.isfile(os.path.expanduser(text))]
            if found:
                return found[0]
    return None


def _refuse_different_widths(files: list[LabelledRows]) -> None:
    first = files[0]
    for other in files[1:]:
        widths = first.inputs.shape[1], other.inputs.shape[1]
        if widths[0] != widths[1]:
            raise DataError(f"{first.origin} has {widths[0]} features and {other.origin} has {widths[1]}")
