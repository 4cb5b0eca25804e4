"""One file of one population: `read_rows` gives features and raw labels, `read_domain_file` a `Domain`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from tl_research.data.domain import Domain
from tl_research.data.readers.columns import LARGEST, as_text, infer_types
from tl_research.data.readers.features import ENDINGS, read_features
from tl_research.data.readers.tabular import read_table, refuse_nested, require_column
from tl_research.errors import DataError, nearest

#: A label of numbers with more distinct values than this is not taken for a class unasked.
MOST_UNASKED_CLASSES = 20


@dataclass
class LabelledRows:
    """Rows of one file.

    Fields:
        inputs: matrix, or table of typed feature columns.
        label: (n,) object array, label as text or None where there is none; None without any label column.
        origin: the file.
        info: rows, missing values and columns left out.
        label_name: column of the label, or key of a matrix file.
        row_numbers: (n,) number of each row in its file as messages count; None: from 1.
        remarks: sentences for the screen and the record, as of a `Domain`.
    """

    inputs: np.ndarray | sp.csr_matrix | pd.DataFrame
    label: np.ndarray | None
    origin: str
    info: dict[str, object] = field(default_factory=dict)
    label_name: str | None = None
    row_numbers: np.ndarray | None = None
    remarks: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return self.inputs.shape[0]

    def take(self, rows: np.ndarray, origin: str) -> LabelledRows:
        """Return the rows where the mask holds."""
        inputs = self.inputs
        chosen = inputs[rows].reset_index(drop=True) if isinstance(inputs, pd.DataFrame) else inputs[rows]
        label = None if self.label is None else self.label[rows]
        numbers = (np.arange(1, len(self) + 1) if self.row_numbers is None else self.row_numbers)[rows]
        info = self.info | {"rows": int(rows.sum())}
        if isinstance(inputs, pd.DataFrame) and "missing_values" in info:
            info["missing_values"] = int(chosen.isna().to_numpy().sum())
        return replace(self, inputs=chosen, label=label, origin=origin, info=info, row_numbers=numbers)

    def place(self, row: int) -> str:
        """Name the label of a row for a message: `file, row 7, column 'bought'`."""
        number = row + 1 if self.row_numbers is None else self.row_numbers[row]
        column = "" if self.label_name is None else f", column {self.label_name!r}"
        return f"{self.origin}, row {number}{column}"

    def refuse_missing_labels(self) -> None:
        """Raise `DataError` with the first row that has no label."""
        missing = np.ones(len(self), dtype=bool) if self.label is None else self.label == None  # noqa: E711
        if missing.any():
            raise DataError(
                f"{self.place(int(missing.argmax()))}: no label ({int(missing.sum())} of {len(self)} rows have none)"
            )

    def refuse_infinite_labels(self) -> None:
        """Raise `DataError` with the first label that is no finite number, where all labels are numbers."""
        values = [] if self.label is None else [value for value in pd.unique(self.label) if value is not None]
        try:
            wrong = {value for value in values if not abs(float(value)) <= LARGEST}
        except ValueError:
            return  # classes with names
        if wrong:
            row = next(row for row, value in enumerate(self.label) if value in wrong)
            raise DataError(f"{self.place(row)}: the label {self.label[row]!r} is not a finite number (of 32 bits)")


def read_rows(
    path: str | Path,
    label: str | None,
    *,
    label_required: bool = True,
    drop: Iterable[str] = (),
    categorical: Iterable[str] = (),
    domain_column: str | None = None,
    columns_required: bool = True,
) -> tuple[LabelledRows, np.ndarray | None]:
    """Read the rows of a CSV, Parquet, npz, mat or svmlight file.

    Args:
        path: the file; its ending says what it is.
        label: label column of a table, or key of the labels of a matrix file.
        label_required: False where rows, or the whole file, may lack labels.
        drop: columns of a table to leave out.
        categorical: columns of a table to read as categories though they look like numbers.
        domain_column: column of a table that names each row's domain; taken out of the features.
        columns_required: False where columns in `drop` and `categorical` may be absent.

    Returns:
        The rows, and the domain of each as text (None without `domain_column`).
    """
    if str(path).lower().endswith(ENDINGS):
        if domain_column or tuple(drop) or tuple(categorical):
            raise DataError(f"{path}: data.domain_column, data.drop and data.categorical need a table (csv or parquet)")
        rows = _read_matrix_rows(path, label, label_required)
        return rows, None
    return _read_table_rows(
        str(path), label, label_required, tuple(drop), tuple(categorical), domain_column, columns_required
    )


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
    rows, _ = read_rows(
        path, label, label_required=label_required, drop=drop, categorical=categorical, columns_required=False
    )
    if classes is None:
        classes = () if task_of([rows]) == "regression" else class_names([rows])
    return to_domain(rows, tuple(classes), name or str(path))


def to_domain(rows: LabelledRows, classes: tuple[str, ...], name: str) -> Domain:
    """Encode labels as indices into `classes`, or where there are none as numbers.

    Raises:
        DataError: a label that is none of the classes, or no number; the message names the row.
    """
    info = dict(rows.info)
    if rows.label is not None and (unlabelled := int((rows.label == None).sum())):  # noqa: E711
        info["rows_without_label"] = unlabelled
    known = {"origin": rows.origin, "info": info, "row_numbers": rows.row_numbers, "remarks": rows.remarks}
    if not classes:
        return Domain(name, rows.inputs, _numbers(rows), (), **known)
    index = np.full(len(rows), -1, dtype=np.int64)
    if rows.label is not None:
        for position, value in enumerate(classes):
            index[rows.label == value] = position
        stray = (index < 0) & (rows.label != None)  # noqa: E711
        if stray.any():
            row = int(stray.argmax())
            raise DataError(
                f"{rows.place(row)}: the label {rows.label[row]!r} is none of the classes "
                f"{', '.join(classes)}{nearest(rows.label[row], classes).split(' (known')[0]}"
            )
    return Domain(name, rows.inputs, index, classes, **known)


def task_of(files: Sequence[LabelledRows]) -> str:
    """Say what the label of the files is, by its values in all of them: `class` or `regression`.

    Text is a class. Numbers of at most 20 distinct values are classes; of more they are a regression target where
    one of them has a fraction (12.5). Many whole numbers may be either (prices, or codes), which is not guessed.

    Raises:
        DataError: more than 20 distinct whole numbers, `data.task` says what they are; or more than 20 distinct numbers
            and some text, whose first row is named.
    """
    labels = [rows.label for rows in files if rows.label is not None]
    values = pd.unique(np.concatenate(labels)) if labels else np.array([], dtype=object)
    values = [value for value in values if value is not None]
    numbers = np.array([number for value in values if (number := _as_float(value)) is not None])
    if len(numbers) < len(values):
        if len(numbers) > MOST_UNASKED_CLASSES:
            _refuse_text_among_numbers(files)
        return "class"
    if len(numbers) <= MOST_UNASKED_CLASSES:
        return "class"
    if (numbers != np.round(numbers)).any():
        return "regression"
    raise DataError(
        f"{files[0].origin}: the label has {len(values)} distinct whole numbers ({values[0]}, {values[1]}, ...), "
        "which may be amounts or codes of classes; say which: data.task=regression or data.task=class"
    )


def _as_float(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _refuse_text_among_numbers(files: Sequence[LabelledRows]) -> None:
    labels = [(rows, row, value) for rows in files if rows.label is not None for row, value in enumerate(rows.label)]
    texts = [found for found in labels if found[2] is not None and _as_float(found[2]) is None]
    rows, row, value = texts[0]
    total = sum(found[2] is not None for found in labels)
    raise DataError(
        f"{rows.place(row)}: the label {value!r} is text, but {total - len(texts)} of {total} labels are numbers; mend "
        "the value, or say data.task=class to read every label as a class"
    )


def class_names(files: Sequence[LabelledRows]) -> tuple[str, ...]:
    """Return the classes of all files, which must agree.

    Raises:
        DataError: a file of one class, files whose classes differ, or labels that are nearly all distinct.
    """
    found = [_classes_of(rows) for rows in files]
    union = order_classes(set().union(*found))
    for rows, own in zip(files, found, strict=True):
        if len(own) == 1:
            raise DataError(f"{rows.origin}: every label is {next(iter(own))!r}; wants at least two classes")
        lacking = [value for value in union if value not in own]
        if lacking:
            holder = next(other for other, theirs in zip(files, found, strict=True) if lacking[0] in theirs)
            place = holder.place(int((holder.label == lacking[0]).argmax()))
            few = ", ".join(map(repr, lacking[:5])) + (", ..." if len(lacking) > 5 else "")
            raise DataError(
                f"{holder.origin} has the extra classes {few}, which {rows.origin} lacks; they must agree (first in "
                f"{place})"
            )
    return union


def order_classes(values: Iterable[str]) -> tuple[str, ...]:
    """Sort class names, numbers by value and text without regard to case: 0, 1; no, yes; False, True; -1, 1."""
    values = list(values)
    try:
        return tuple(sorted(values, key=float))
    except ValueError:
        return tuple(sorted(values, key=lambda value: (value.casefold(), value)))


def _classes_of(rows: LabelledRows) -> set[str]:
    if rows.label is None or all(value is None for value in rows.label):
        raise DataError(f"{rows.origin}: there is no label")
    present = rows.label[rows.label != None]  # noqa: E711
    values = pd.unique(present)
    if len(values) > max(MOST_UNASKED_CLASSES, len(present) / 2):
        raise DataError(
            f"{rows.origin}: the label has {len(values)} distinct values in {len(present)} rows ({present[0]}, ...): "
            "wants classes; for numbers to be predicted there is data.task=regression"
        )
    return set(values)


def _numbers(rows: LabelledRows) -> np.ndarray:
    """Labels (n,) float64, nan where there is none."""
    number = np.full(len(rows), np.nan)
    for row, value in enumerate(rows.label if rows.label is not None else ()):
        if value is None:
            continue
        parsed = _as_float(value)
        if parsed is None or not abs(parsed) <= LARGEST:
            raise DataError(
                f"{rows.place(row)}: the label {value!r} is not a finite number of 32 bits (data.task=regression)"
                if parsed is not None
                else f"{rows.place(row)}: the label {value!r} is not a number (data.task=regression)"
            )
        number[row] = parsed
    return number


def _read_matrix_rows(path: str | Path, label: str | None, label_required: bool) -> LabelledRows:
    remarks: list[str] = []
    x, y = read_features(path, label=label, label_required=label_required, remarks=remarks)
    text = None if y is None else as_text(pd.Series(y))
    n = int(x.shape[0])
    rows = LabelledRows(
        x, text, str(path), {"rows": n}, label_name=label or "y", row_numbers=np.arange(n), remarks=remarks
    )
    if text is not None and label_required:
        rows.refuse_missing_labels()
    rows.refuse_infinite_labels()
    return rows


def _read_table_rows(origin, label, label_required, drop, categorical, domain_column, columns_required):
    frame = read_table(origin)
    for key, names in (("data.drop", drop), ("data.categorical", categorical)):
        for name in names if columns_required else ():
            require_column(frame, name, key, origin)
    raw_label = domain = None
    if label is not None and (label_required or label in frame.columns):
        require_column(frame, label, "data.label", origin)
        raw_label = as_text(frame[label])
    if domain_column is not None:
        require_column(frame, domain_column, "data.domain_column", origin)
        domain = as_text(frame[domain_column])
        _refuse_missing_domain(domain, domain_column, origin)
    labels = LabelledRows(frame, raw_label, origin, label_name=label, remarks=list(frame.attrs["remarks"]))
    if raw_label is not None:
        if label_required:
            labels.refuse_missing_labels()
        labels.refuse_infinite_labels()
    features = frame.drop(columns=[name for name in {label, domain_column, *drop} if name in frame.columns])
    if features.shape[1] == 0:
        raise DataError(f"{origin}: no column is left to learn from beside {label!r}")
    refuse_nested(features, origin)
    features = infer_types(features, origin, categorical=categorical)
    info: dict[str, object] = {"rows": len(frame), "missing_values": int(features.isna().to_numpy().sum())}
    if drop:
        info["columns_dropped"] = sorted(drop)
    return replace(labels, inputs=features, info=info), domain


def _refuse_missing_domain(text: np.ndarray, column: str, origin: str) -> None:
    missing = text == None  # noqa: E711
    if missing.any():
        raise DataError(
            f"{origin}, row {int(missing.argmax()) + 1}, column {column!r}: no domain "
            f"({int(missing.sum())} of {len(text)} rows have none)"
        )
