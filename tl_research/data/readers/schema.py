"""`Schema`: how every column of a table is read, decided over all files of a run, kept with the model.

`decide_schema` looks at all files at once; `Schema.read` reads any rows by what was decided and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from tl_research.data.readers.cells import Cells
from tl_research.data.readers.deciding import decide
from tl_research.data.readers.labels import decide_label
from tl_research.data.readers.marks import Wish
from tl_research.data.readers.rules import KINDS, ColumnRule
from tl_research.errors import ConfigError, DataError, nearest

_OPTIONS = {
    "decimal": (".", ","),
    "thousands": ("", ",", ".", " ", "'", "_"),
    "unit": None,
    "order": ("dmy", "mdy"),
    "parts": ("auto", "none"),
}
_OPTIONS_OF = {"number": ("decimal", "thousands", "unit"), "date": ("order", "parts"), "category": (), "drop": ()}


@dataclass
class RawRows:
    """Rows of one file, as they stand in it.

    Fields:
        features: the columns to learn from, or a feature matrix.
        label: the label column, None where the file has none or nobody wants it.
        origin: the file.
        label_name: its label column, or key.
        domain: the column that names each row's domain.
        typed: whether the file says what its columns are.
        dropped: columns that were left out as the configuration says.
        remarks: what the reader of the file has to say.
    """

    features: pd.DataFrame | np.ndarray | sp.csr_matrix
    label: pd.Series | None
    origin: str
    label_name: str | None = None
    domain: pd.Series | None = None
    typed: bool = False
    dropped: tuple[str, ...] = ()
    remarks: list[str] = field(default_factory=list)

    @property
    def is_table(self) -> bool:
        """Whether the columns have names; otherwise the features are a matrix of numbers."""
        return isinstance(self.features, pd.DataFrame)

    def cells(self, name: str) -> Cells:
        """Return the cells of the feature column `name`, told apart by what they hold."""
        return self.cells_of(self.features[name])

    def label_cells(self) -> Cells:
        """Return the cells of the label column, told apart by what they hold."""
        return self.cells_of(self.label)

    def cells_of(self, column: pd.Series) -> Cells:
        """Return any column of the file as cells."""
        return Cells(column, self.origin, typed=self.typed, first_row=1 if self.is_table else 0)


@dataclass(frozen=True)
class Wishes:
    """What the user says of the columns.

    Fields:
        columns: `data.schema`, by column.
        missing: `data.missing`: further spellings that mean "no value".
        task: `data.task`.
    """

    columns: Mapping[str, Wish] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    task: str = "auto"

    @classmethod
    def of(
        cls,
        schema: Mapping[str, Any] | None = None,
        categorical: Iterable[str] = (),
        missing: Iterable[str] | None = None,
        task: str = "auto",
    ) -> Wishes:
        """Check the keys of the configuration.

        Raises:
            ConfigError: naming the full key, such as `data.schema.price.decimal`.
        """
        columns = {str(name): _wish(f"data.schema.{name}", value) for name, value in (schema or {}).items()}
        for name in categorical:
            if columns.setdefault(name, Wish("category")).kind != "category":
                raise ConfigError(
                    f"data.schema.{name}: got {columns[name].kind!r}, but data.categorical names the column too"
                )
        return cls(columns, tuple(str(word).strip() for word in missing or ()), task)


def _wish(key: str, value: Any) -> Wish:
    if isinstance(value, str):
        value = {"kind": value}
    if not isinstance(value, Mapping) or "kind" not in value:
        raise ConfigError(f"{key}: got {value!r}, wants one of {', '.join(KINDS)}, or {{kind: ..., ...}}")
    kind = value["kind"]
    if kind not in KINDS:
        raise ConfigError(f"{key}: got {kind!r}{nearest(str(kind), KINDS)}")
    for option, given in value.items():
        if option == "kind":
            continue
        if option not in _OPTIONS_OF[kind]:
            raise ConfigError(f"{key}.{option}: unknown key of a {kind}{nearest(str(option), _OPTIONS_OF[kind])}")
        known = _OPTIONS[option]
        if not isinstance(given, str) or (known is not None and given not in known):
            wants = "text" if known is None else f"one of {', '.join(map(repr, known))}"
            raise ConfigError(f"{key}.{option}: got {given!r}, wants {wants}")
    return Wish(kind, **{option: given for option, given in value.items() if option != "kind"})


@dataclass
class Schema:
    """How the columns and the label are read.

    Fields:
        columns: rule of each feature column.
        label: rule of the label; None where no file has one.
        remarks: what was decided otherwise than plainly.
    """

    columns: dict[str, ColumnRule]
    label: ColumnRule | None = None
    remarks: list[str] = field(default_factory=list)

    def read(self, raw: RawRows, only: Iterable[str] | None = None) -> pd.DataFrame:
        """Read feature columns by their rules: float64 or object columns, rows numbered from 0.

        Args:
            raw: the rows.
            only: columns as they are after reading (a date may be several), whose cells must be there; default all
                that the schema does not drop.

        Raises:
            DataError: a cell that its rule cannot read; file, row and column are named.
        """
        origin = self.origin_of_outputs()
        names = list(origin) if only is None else list(only)
        found = {name: self.columns[name].read(raw.cells(name)) for name in dict.fromkeys(map(origin.get, names))}
        columns = {name: found[origin[name]][name] for name in names}
        return pd.DataFrame(columns).reset_index(drop=True) if columns else pd.DataFrame(index=range(len(raw.features)))

    def origin_of_outputs(self) -> dict[str, str]:
        """Return, for each column as it is after reading, the column of the file that it is of."""
        return {output: name for name, rule in self.columns.items() for output in rule.outputs(name)}

    def leave_out(self, name: str, why: str) -> str:
        """Read a column of the file no more; returns the remark that says so."""
        self.columns[name] = ColumnRule("drop", reason=why)
        return f"column {name!r} is left out: {why}"

    def short(self) -> dict[str, Any]:
        """For the record: each column's kind, and whatever of its rule is not plain."""
        return {name: rule.short() for name, rule in self.columns.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return plain values: text, booleans, lists and dicts."""
        return {
            "columns": {name: rule.state_dict() for name, rule in self.columns.items()},
            "label": None if self.label is None else self.label.state_dict(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Schema:
        """Rebuild a schema from its `state_dict()`."""
        label = state["label"]
        return cls(
            {name: ColumnRule.from_state(rule) for name, rule in state["columns"].items()},
            None if label is None else ColumnRule.from_state(label),
        )


def decide_schema(files: Sequence[RawRows], wishes: Wishes | None = None) -> Schema:
    """Decide how every column is read, over all files of a run.

    Raises:
        DataError: files whose columns differ, or a column that can be read in two ways; see `deciding.decide`.
        ConfigError: `data.schema` names a column that there is not.
    """
    wishes = wishes or Wishes()
    labels = [raw.label_cells() for raw in files if raw.label is not None]
    label_name = files[0].label_name
    schema = Schema({})
    _refuse_different_kinds(files)
    if files[0].is_table:
        refuse_different_columns(files)
        names = list(files[0].features.columns)
        _refuse_unknown(wishes.columns, [*names, label_name], files)
        for name in names:
            wish = wishes.columns.get(name)
            if wish is not None and wish.kind == "drop":  # whatever it holds
                schema.columns[name] = ColumnRule("drop", reason="data.schema")
                continue
            rule, remarks = decide([raw.cells(name) for raw in files], wish, wishes.missing)
            schema.columns[name] = rule
            schema.remarks += remarks
        _refuse_names_of_parts(schema, files[0].origin)
    elif wishes.columns:
        raise DataError(f"{files[0].origin}: data.schema needs a table (csv or parquet)")
    if labels:
        wish = wishes.columns.get(label_name)
        if wish is not None and wish.kind not in ("category", "number"):
            raise ConfigError(f"data.schema.{label_name}: got {wish.kind!r}, but the label is a category or a number")
        schema.label, remarks = decide_label(labels, wishes.task, wish, wishes.missing)
        schema.remarks += remarks
    return schema


def _refuse_names_of_parts(schema: Schema, origin: str) -> None:
    for name, rule in schema.columns.items():
        for part in rule.outputs(name)[1:]:
            if part in schema.columns:
                raise DataError(
                    f"{origin}: the column {part!r} is called as a part of the date {name!r} is; rename it, or say "
                    f"data.schema.{name}=date, which reads the day alone"
                )


def _refuse_different_kinds(files: Sequence[RawRows]) -> None:
    first = files[0]
    for other in files[1:]:
        if other.is_table != first.is_table:
            kind = {True: "a table", False: "a feature matrix"}
            raise DataError(f"{first.origin} is {kind[first.is_table]} and {other.origin} is {kind[other.is_table]}")


def refuse_different_columns(files: Sequence[RawRows]) -> None:
    """Raise `DataError` unless all files have the same feature columns."""
    first = files[0]
    for other in files[1:]:
        one, two = list(first.features.columns), list(other.features.columns)
        for here, there, lacks, has in ((one, two, other, first), (two, one, first, other)):
            lacking = [name for name in here if name not in there]
            if not lacking:
                continue
            header = ""
            if not set(one) & set(two):
                header = "; they share no column: does the first line of each file hold the names?"
            raise DataError(
                f"{lacks.origin} lacks the columns {', '.join(map(repr, lacking))}, which {has.origin} has"
                f"{nearest(lacking[0], there)}{header}; mend the file, or list them in data.drop"
            )


def _refuse_unknown(columns: Iterable[str], known: Sequence[str | None], files: Sequence[RawRows]) -> None:
    known = [name for name in known if name is not None]
    dropped = {name for raw in files for name in raw.dropped}
    for name in columns:
        if name in dropped:
            raise ConfigError(f"data.schema.{name}: data.drop names the column too")
        if name not in known:
            raise ConfigError(f"data.schema.{name}: {files[0].origin} has no such column{nearest(name, known)}")
