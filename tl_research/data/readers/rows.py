"""`LabelledRows`: the rows of one file, typed, with their labels as text."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp

from tl_research.data.readers.number_text import infinite_mask, plain_mask
from tl_research.data.readers.rules import LARGEST
from tl_research.errors import DataError

if TYPE_CHECKING:
    from tl_research.data.readers.schema import Schema


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
        schema: how the columns and the label were read.
    """

    inputs: np.ndarray | sp.csr_matrix | pd.DataFrame
    label: np.ndarray | None
    origin: str
    info: dict[str, object] = field(default_factory=dict)
    label_name: str | None = None
    row_numbers: np.ndarray | None = None
    remarks: list[str] = field(default_factory=list)
    schema: Schema | None = None

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

    def without_labels(self) -> LabelledRows:
        """Return the same rows as if the file had no label."""
        return replace(self, label=None)

    def place(self, row: int) -> str:
        """Name the label of a row for a message: `file, row 7, column 'bought'`."""
        number = row + 1 if self.row_numbers is None else self.row_numbers[row]
        column = "" if self.label_name is None else f", column {self.label_name!r}"
        return f"{self.origin}, row {number}{column}"

    def refuse_missing_labels(self) -> None:
        """Raise `DataError` with the first row that has no label."""
        missing = np.ones(len(self), dtype=bool) if self.label is None else self.label == None  # noqa: E711
        if missing.any():
            rule = None if self.schema is None else self.schema.label
            also = "".join(f", and {word!r}" for word in (rule.missing if rule else ()))
            also += ", and words such as NA, null and None beside numbers" if rule and rule.words else ""
            raise DataError(
                f"{self.place(int(missing.argmax()))}: no label ({int(missing.sum())} of {len(self)} rows have none; "
                f"an empty cell is none{also})"
            )

    def refuse_infinite_labels(self) -> None:
        """Raise `DataError` with the first label that is no finite number, where all labels are numbers."""
        values = [] if self.label is None else [value for value in pd.unique(self.label) if value is not None]
        if not (plain_mask(values) | infinite_mask(values)).all():
            return  # classes with names
        wrong = {value for value in values if not abs(float(value)) <= LARGEST}
        if wrong:
            row = next(row for row, value in enumerate(self.label) if value in wrong)
            raise DataError(f"{self.place(row)}: the label {self.label[row]!r} is not a finite number (of 32 bits)")
