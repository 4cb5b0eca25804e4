"""New rows for a finished run, read by the schema that training stored. Every difference gets a remark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tl_research.data.domain import Domain
from tl_research.data.readers.cells import MISSING, nfc
from tl_research.data.readers.domain_file import raw_of_table, read_raw, to_domain
from tl_research.data.readers.features import SVMLIGHT_ENDINGS, with_columns
from tl_research.data.readers.labels import read_label
from tl_research.data.readers.rows import LabelledRows
from tl_research.data.readers.rules import ColumnRule
from tl_research.data.readers.schema import RawRows, Schema
from tl_research.data.readers.tabular import require_column
from tl_research.data.transforms.table import TableTransform
from tl_research.errors import DataError, nearest

#: What a table that is no file is called in messages.
TABLE = "the table"


@dataclass(frozen=True)
class NewRows:
    """What to read from a file of new rows.

    Fields:
        schema: how training read its columns.
        table: the fitted transform of the table; None where the model reads none.
        label: the label column; None: the one that the configuration names.
        need_label: whether labels are read at all.
        ignored: further columns that the file may hold (columns that training left out, labels, the domain).
        width: number of columns of the matrix that the model takes; None where it takes a table.
        keep: columns of the file that are handed through in `Domain.aside`, as they stand.
        may_lack_labels: whether a row may be without a label, where labels are read.
    """

    schema: Schema
    table: TableTransform | None
    label: str | None = None
    need_label: bool = False
    ignored: tuple[str, ...] = ()
    width: int | None = None
    keep: tuple[str, ...] = ()
    may_lack_labels: bool = False

    @property
    def used(self) -> tuple[str, ...]:
        """Columns that the model reads."""
        return () if self.table is None else tuple(column["name"] for column in _columns(self.table))


def table_of(transform: Any) -> TableTransform | None:
    """Return the transform of the table, which may be one part of several."""
    found = getattr(transform, "parts", {}).get("table", transform)
    return found if isinstance(found, TableTransform) else None


def schema_of_transform(transform: Any, label_kind: str) -> Schema:
    """Make the schema of a model that stored none (a catalogue data set, or an older version of the package)."""
    table = table_of(transform)
    words = tuple(word for word in MISSING if word)
    columns = {}
    for column in () if table is None else _columns(table):
        columns[column["name"]] = (
            ColumnRule("category", words=False, missing=words) if "values" in column else ColumnRule("number")
        )
    labels = {"class": ColumnRule("category", words=False, missing=words), "regression": ColumnRule("number")}
    return Schema(columns, labels.get(label_kind))


def read_new_rows(path: str | pd.DataFrame, classes: Sequence[str], new: NewRows, *, drop: Iterable[str]) -> Domain:
    """Read a table or a matrix of new rows.

    Args:
        path: the file; or the table itself.
        classes: classes of the model; empty for regression.
        new: what to read.
        drop: columns that training left out by name.

    Raises:
        DataError: a column that the model reads is not there, or a cell cannot be read; the file is named.
    """
    label = new.label if new.need_label else None
    gone = [name for name in {*drop, *new.ignored} - {*new.keep} if name != label] if new.table else []
    options = {"label_required": new.need_label, "drop": gone, "columns_required": False}
    if isinstance(path, pd.DataFrame):
        frame, path = path.rename(columns=nfc), TABLE
        raw = raw_of_table(frame, path, label, **options)
    else:
        raw = read_raw(path, label, **options)
    texts = None if raw.label is None else read_label(new.schema.label or ColumnRule(), raw.label_cells())
    info: dict[str, object] = {"rows": raw.features.shape[0]}
    kept = None
    if new.keep:
        kept = kept_columns(raw, new.keep)
    if not raw.is_table:
        numbers = np.arange(raw.features.shape[0])
        inputs = raw.features
        if path.lower().endswith(SVMLIGHT_ENDINGS) and new.width is not None:
            # A svmlight file names only columns that are not 0.
            inputs = with_columns(inputs, new.width, path)
        rows = LabelledRows(inputs, texts, raw.origin, info, raw.label_name, numbers, list(raw.remarks))
    else:
        if new.table is None:
            raise DataError(f"{path}: a table was given where a feature matrix is wanted")
        inputs, remarks = read_table_columns(raw, new)
        rows = LabelledRows(inputs, texts, raw.origin, info, raw.label_name, None, [*raw.remarks, *remarks])
    rows.schema = new.schema
    if new.need_label and not new.may_lack_labels:
        rows.refuse_missing_labels()
    domain = to_domain(rows, tuple(classes), str(path))
    domain.aside = kept
    return domain


def kept_columns(raw: RawRows, names: Sequence[str]) -> pd.DataFrame:
    """Return columns of a file as they stand in it, rows numbered from 0.

    Raises:
        DataError: there is no such column, or no columns with names at all.
    """
    if not raw.is_table:
        raise DataError(f"{raw.origin}: --keep needs a table (csv or parquet)")
    columns = {}
    for name in map(nfc, names):
        label = raw.label is not None and name == raw.label_name
        if not label:
            require_column(raw.features, name, "--keep", raw.origin)
        columns[name] = raw.label if label else raw.features[name]
    return pd.DataFrame(columns).reset_index(drop=True)


def read_table_columns(raw: RawRows, new: NewRows) -> tuple[pd.DataFrame, list[str]]:
    """Read the columns that the model uses. Return them, and a remark per difference from training.

    Raises:
        DataError: the file lacks a column that training had.
    """
    present = list(raw.features.columns)
    origin = new.schema.origin_of_outputs()
    wanted = dict.fromkeys(origin.get(name, name) for name in new.used)
    lacking = [name for name in wanted if name not in present]
    if lacking:
        raise DataError(
            f"{raw.origin} lacks the columns {', '.join(map(repr, lacking))}, which training had"
            f"{nearest(lacking[0], map(str, present))}"
        )
    known = {*wanted, *new.keep, *new.schema.columns, *new.table.dropped, *new.ignored}
    extra = [name for name in present if name not in known]
    remarks = []
    if extra:
        several = len(extra) > 1
        shown = ", ".join(map(repr, extra[:5])) + (", ..." if len(extra) > 5 else "")
        remarks.append(
            f"{raw.origin}: {len(extra)} column{'s' if several else ''} that training did not have "
            f"{'are' if several else 'is'} ignored: {shown}"
        )
    inputs = new.schema.read(raw, new.used)
    return inputs, [*remarks, *unseen_remarks(new.table, inputs, raw.origin)]


def unseen_remarks(table: TableTransform, inputs: pd.DataFrame, origin: str) -> list[str]:
    """Return one remark per column that holds values unseen in training, or gaps where training had none.

    Args:
        table: fitted transform.
        inputs: columns as the schema reads them.
        origin: file, for messages.
    """
    remarks = []
    for column in table.categorical:
        values = inputs[column["name"]]
        where = f"column {column['name']!r} ({origin})"
        present = values.dropna()
        unseen = present[~present.isin(column["values"])]
        if len(unseen):
            distinct = list(pd.unique(unseen))
            by_case = {value.casefold(): value for value in column["values"]}
            close = next((by_case[value.casefold()] for value in distinct if value.casefold() in by_case), None)
            had = f"; training had {close!r}" if close else ""
            shown = ", ".join(map(repr, distinct[:3])) + (", ..." if len(distinct) > 3 else "")
            remarks.append(
                f"{where}: {len(unseen)} of {len(present)} values were not in the training rows ({shown}) and count as "
                f"unknown{had}"
            )
        gone = len(values) - len(present)
        if gone and (gone == len(values) or not column["missing"]):
            why = "" if column["missing"] else ", and every training row had one"
            remarks.append(f"{where}: {gone} of {len(values)} rows have no value{why}")
    for column in table.numeric:
        values = inputs[column["name"]]
        gone = int(values.isna().sum())
        if gone and (gone == len(values) or not column["missing"]):
            why = "" if column["missing"] else ", and every training row had one"
            remarks.append(
                f"column {column['name']!r} ({origin}): {gone} of {len(values)} rows have no value{why}; the training "
                f"rows' median {column['median']:g} stands in"
            )
    return remarks


def _columns(table: TableTransform) -> list[dict[str, Any]]:
    return [*table.numeric, *table.categorical, *({"name": name, "values": []} for name in table.texts)]
