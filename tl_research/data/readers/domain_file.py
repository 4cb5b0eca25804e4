"""One file of one population: `read_rows` gives features and raw labels, `read_domain_file` a `Domain`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tl_research.data.domain import Domain
from tl_research.data.label_kinds import kind_of
from tl_research.data.readers.cells import Cells, nfc
from tl_research.data.readers.deciding import as_category
from tl_research.data.readers.features import ENDINGS, read_features
from tl_research.data.readers.gathered import Gathered
from tl_research.data.readers.labels import (
    MOST_UNASKED_CLASSES,
    class_names,
    classes_of_task,
    encoded_label,
    order_classes,
    read_label,
    task_of,
)
from tl_research.data.readers.rows import LabelledRows
from tl_research.data.readers.sampling import Choice
from tl_research.data.readers.schema import RawRows, Schema, Wishes, decide_schema
from tl_research.data.readers.tabular import PARQUET_ENDINGS, read_table, refuse_nested, require_column
from tl_research.errors import DataError


def read_rows(
    path: str | Path,
    label: str | None,
    *,
    label_required: bool = True,
    drop: Iterable[str] = (),
    categorical: Iterable[str] = (),
    domain_column: str | None = None,
    columns_required: bool = True,
    task: str = "auto",
) -> tuple[LabelledRows, np.ndarray | None]:
    """Read the rows of a CSV, Parquet, npz, mat or svmlight file; what its columns are is decided on this file alone.

    Args:
        path: the file; its ending says what it is.
        label: label column of a table, or key of the labels of a matrix file.
        label_required: False where rows, or the whole file, may lack labels.
        drop: columns of a table to leave out.
        categorical: columns of a table to read as categories though they look like numbers.
        domain_column: column of a table that names each row's domain; taken out of the features.
        columns_required: False where columns in `drop` and `categorical` may be absent.
        task: what the label is: `class`, `regression`, or `auto`: by its values.

    Returns:
        The rows, and the domain of each as text (None without `domain_column`).
    """
    raw = read_raw(
        path,
        label,
        label_required=label_required,
        drop=drop,
        categorical=categorical,
        domain_column=domain_column,
        columns_required=columns_required,
    )
    names = set(raw.features.columns) if raw.is_table else set()
    wishes = Wishes.of(None, [name for name in map(nfc, categorical) if name in names], task=task)
    schema = decide_schema([raw], wishes)
    rows = typed_rows(raw, schema)
    if raw.label is not None:
        if label_required:
            rows.refuse_missing_labels()
        rows.refuse_infinite_labels()
    rows.remarks += schema.remarks
    return rows, domains_of(raw, (), rows.remarks)


def read_raw(
    path: str | Path,
    label: str | None,
    *,
    label_required: bool = True,
    drop: Iterable[str] = (),
    categorical: Iterable[str] = (),
    domain_column: str | None = None,
    columns_required: bool = True,
    choose: Choice | None = None,
) -> RawRows:
    """Read a file as it stands, before anything is decided.

    Args:
        path, label, label_required, drop, categorical, domain_column, columns_required: as for `read_rows`.
        choose: says which rows to read; default all.

    Raises:
        DataError: a matrix with keys that only a table can have, or no column beside the label.
    """
    origin = str(path)
    drop, categorical = tuple(map(nfc, drop)), tuple(map(nfc, categorical))
    label, domain_column = (None if name is None else nfc(name) for name in (label, domain_column))
    if origin.lower().endswith(ENDINGS):
        if domain_column or drop or categorical:
            raise DataError(f"{path}: data.domain_column, data.drop and data.categorical need a table (csv or parquet)")
        remarks: list[str] = []
        x, y = read_features(path, label=label, label_required=label_required, remarks=remarks)
        name = label or "y"
        series = None if y is None else pd.Series(y, name=name)
        places = None if choose is None else choose(x.shape[0], {name: series}.get)
        if places is not None:
            remarks.append(_said_of_sample(origin, len(places), x.shape[0]))
            x, series = x[places], None if series is None else series.iloc[places].reset_index(drop=True)
        return RawRows(x, series, origin, name, remarks=remarks, numbers=places)
    return raw_of_table(
        read_table(path, choose),
        origin,
        label,
        label_required=label_required,
        drop=drop,
        categorical=categorical,
        domain_column=domain_column,
        columns_required=columns_required,
        typed=origin.lower().endswith(PARQUET_ENDINGS),
    )


def raw_of_table(
    frame: pd.DataFrame,
    origin: str,
    label: str | None,
    *,
    label_required: bool = True,
    drop: Iterable[str] = (),
    categorical: Iterable[str] = (),
    domain_column: str | None = None,
    columns_required: bool = True,
    typed: bool = False,
) -> RawRows:
    """Tell the columns of a table apart, before anything is decided.

    Args:
        frame: as of `read_table`.
        origin: what to call it in messages.
        label, label_required, drop, categorical, domain_column, columns_required: as for `read_rows`.
        typed: whether the table says that a text is a text.

    Raises:
        DataError: a column that is not there, or none beside the label.
    """
    drop = tuple(drop)
    places, unread = (frame.attrs.pop(name, None) for name in ("places", "unread"))
    for key, names in (("data.drop", drop), ("data.categorical", categorical)):
        for name in names if columns_required else ():
            require_column(frame, name, key, origin)
    raw_label = domain = None
    if label is not None and (label_required or label in frame.columns):
        require_column(frame, label, "data.label", origin)
        raw_label = frame[label]
    if domain_column is not None:
        require_column(frame, domain_column, "data.domain_column", origin)
        domain = frame[domain_column]
    features = frame.drop(columns=[name for name in {label, domain_column, *drop} if name in frame.columns])
    if features.shape[1] == 0:
        raise DataError(f"{origin}: no column is left to learn from beside {label!r}")
    refuse_nested(features, origin)
    remarks = list(frame.attrs.get("remarks", ()))
    if unread is not None:
        remarks.append(_said_of_sample(origin, len(places), unread.total))
    numbers = None if places is None else places + 1
    dropped = tuple(name for name in drop if name in frame.columns)
    return RawRows(features, raw_label, origin, label, domain, typed, dropped, remarks, numbers, unread)


def _said_of_sample(origin: str, rows: int, total: int) -> str:
    return f"{origin}: {rows:,} of {total:,} rows are read, drawn at random (data.rows)"


def typed_rows(raw: RawRows, schema: Schema) -> LabelledRows:
    """Read the rows of a file by what was decided."""
    n = raw.features.shape[0]
    label = None if raw.label is None else read_label(schema.label, raw.label_cells())
    if not raw.is_table:
        numbers = np.arange(n) if raw.numbers is None else raw.numbers
        return LabelledRows(
            raw.features, label, raw.origin, {"rows": n}, raw.label_name, numbers, list(raw.remarks), schema
        )
    features = schema.read(raw)
    info: dict[str, object] = {"rows": n, "missing_values": int(features.isna().to_numpy().sum())}
    by_schema = [name for name, rule in schema.columns.items() if rule.kind == "drop"]
    if raw.dropped or by_schema:
        info["columns_dropped"] = sorted({*raw.dropped, *by_schema})
    if raw.unread is not None:
        info["rows_in_file"] = raw.unread.total
    return LabelledRows(features, label, raw.origin, info, raw.label_name, raw.numbers, list(raw.remarks), schema)


def domains_of(raw: RawRows, missing: Iterable[str], remarks: list[str]) -> np.ndarray | None:
    """Return (n,) object: the domain of each row as text, None without a domain column; remarks are added to.

    Raises:
        DataError: with the first row that has none.
    """
    if raw.domain is None:
        return None
    return domains_in(raw.cells_of(raw.domain), missing, remarks)


def domains_in(cells: Cells, missing: Iterable[str], remarks: list[str]) -> np.ndarray:
    """Return (n,) object: the domain of each row as text, from the column that names it; remarks are added to.

    Raises:
        DataError: with the first row that has none.
    """
    column = Gathered.of([cells], missing)
    rule, said = as_category(column)
    text = cells.text(rule.missing, words=rule.words)
    gone = text == None  # noqa: E711
    if gone.any():
        also = ", and words such as NA, null and None beside numbers" if rule.words else ""
        raise DataError(
            f"{cells.place(int(gone.argmax()))}: no domain ({int(gone.sum())} of {len(text)} rows have none; an empty "
            f"cell is none{also})"
        )
    remarks += said
    return text


def read_domain_file(
    path: str | Path,
    label: str | None,
    *,
    classes: Sequence[str] | None = None,
    label_required: bool = True,
    drop: Iterable[str] = (),
    categorical: Iterable[str] = (),
    name: str | None = None,
) -> Domain:
    """Read one file as one domain, for training, evaluation and prediction alike.

    Args:
        path, label, label_required, drop, categorical: as for `read_rows`.
        classes: class names in the order of the model's outputs, empty for regression; default those of this file,
            ordered by `order_classes`, or regression as `task_of` says.
        name: the domain's name; default the path.

    Returns:
        A domain whose label is -1 (regression: nan) where the file has none.

    Raises:
        DataError: whatever is wrong with the file, by row and column.
    """
    task = "auto" if classes is None else kind_of(classes).name
    rows, _ = read_rows(
        path,
        label,
        label_required=label_required,
        drop=drop,
        categorical=categorical,
        columns_required=False,
        task=task,
    )
    if classes is None:
        classes = classes_of_task([rows], task)
    return to_domain(rows, tuple(classes), name or str(path))


def to_domain(rows: LabelledRows, classes: tuple[str, ...], name: str) -> Domain:
    """Encode labels as indices into `classes`, or where there are none as numbers.

    Raises:
        DataError: a label that is none of the classes, or no number; the message names the row.
    """
    info = dict(rows.info)
    if rows.label is not None and (unlabelled := int((rows.label == None).sum())):  # noqa: E711
        info["rows_without_label"] = unlabelled
    known = {"origin": rows.origin, "info": info, "row_numbers": rows.row_numbers}
    known |= {"remarks": rows.remarks, "schema": rows.schema}
    return Domain(name, rows.inputs, encoded_label(rows, classes), classes, **known)


__all__ = [
    "MOST_UNASKED_CLASSES",
    "LabelledRows",
    "class_names",
    "classes_of_task",
    "domains_of",
    "order_classes",
    "read_domain_file",
    "read_raw",
    "read_rows",
    "task_of",
    "to_domain",
    "typed_rows",
]
