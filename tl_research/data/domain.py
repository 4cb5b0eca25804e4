"""What a data set hands over: raw rows of one domain, before anything is fitted, hidden or scaled."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp

from tl_research.data.label_kinds import LabelKind, kind_of
from tl_research.data.modalities import Modalities
from tl_research.errors import DataError

if TYPE_CHECKING:
    from tl_research.data.audit.findings import Finding
    from tl_research.data.readers.schema import Schema
    from tl_research.data.transforms.spec import RawInputs

TRAIN, TEST = 0, 1


@dataclass
class Domain:
    """Raw rows of one population.

    Fields:
        name: the domain's name, as in `data.sources`.
        inputs: a float matrix (n, d) (numpy, or scipy CSR), a DataFrame of feature columns only, images
            (n, height, width, 3) uint8, or `Modalities`.
        label: (n,) int64 class index into `classes`, -1 where the file has no label for the row. For regression:
            (n,) float64 target, nan where the file has none.
        classes: names of the classes, in the same order in every domain of a task. Of two classes the last is the
            positive one. Empty for regression.
        split: (n,) 0 = train, 1 = test, where the data set comes with its own split; None to draw one.
        origin: file or generator it came from, for messages.
        info: facts that go into the result record (rows dropped, columns removed, ...).
        row_numbers: (n,) number of each row in the file, as messages count; None: 1, 2, ...
        remarks: sentences for the screen and the record, on what was left out, counted, or changed in reading.
        split_name: text that, with the seed, decides the split and the shots; None: the name. For the user's own files
            it is a digest of their bytes, so that the same rows under another path have the same test rows.
        row_hash: (n,) uint64, equal for rows of equal features and label; None where rows were not compared.
        schema: how the columns of the user's own table were read; None where the data set knows its columns.
        findings: what the audit found suspicious about the task; with the target.
        aside: typed columns of n rows that are no features, though the file has them: identifiers, texts; None where
            there are none.
        extra: further columns of n rows each (user, item, time, ...), which `Samples.extra` holds as tensors; the
            same ones in every domain of a task.
    """

    name: str
    inputs: np.ndarray | sp.csr_matrix | pd.DataFrame | Modalities
    label: np.ndarray
    classes: tuple[str, ...]
    split: np.ndarray | None = None
    origin: str = ""
    info: dict[str, object] = field(default_factory=dict)
    row_numbers: np.ndarray | None = None
    remarks: list[str] = field(default_factory=list)
    split_name: str | None = None
    row_hash: np.ndarray | None = None
    schema: Schema | None = None
    aside: pd.DataFrame | None = None
    extra: dict[str, np.ndarray] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def __post_init__(self):
        n = self.inputs.shape[0]
        if n == 0:
            raise DataError(f"{self.origin or self.name}: domain {self.name!r} has no rows")
        if self.label.shape != (n,):
            raise DataError(f"{self.origin}: {n} rows but labels of shape {self.label.shape}")
        if self.split is not None and self.split.shape != (n,):
            raise DataError(f"{self.origin}: {n} rows but a split of shape {self.split.shape}")
        for name, column in self.extra.items():
            if len(column) != n:
                raise DataError(f"{self.origin or self.name}: {n} rows but {len(column)} values of {name!r}")
            if column.dtype.kind not in "biuf":
                raise DataError(f"{self.origin or self.name}: {name!r} is of {column.dtype}, wants numbers or codes")
        if not self.label_kind.fits(self.label):
            raise DataError(
                f"{self.origin or self.name}: labels that are {self.label_kind.otherwise}; regression has numbers and "
                "no classes"
            )
        if np.isinf(self.label).any():
            row = int(np.isinf(self.label).argmax())
            raise DataError(f"{self.place(row)}: the label {self.label[row]} is not finite")

    def set_aside(self, name: str) -> None:
        """Take a column out of the features of a table, and keep it in `aside`."""
        column = self.inputs[[name]]
        self.aside = column if self.aside is None else self.aside.join(column)
        self.inputs = self.inputs.drop(columns=name)

    @property
    def numbers(self) -> np.ndarray:
        """(n,) number of each row in the file, as messages count."""
        return np.arange(1, len(self) + 1) if self.row_numbers is None else self.row_numbers

    def place(self, row: int) -> str:
        """Name a row for a message: `file, row 7`."""
        return f"{self.origin or self.name}, row {self.numbers[row]}"

    @property
    def label_kind(self) -> LabelKind:
        """What the labels are."""
        return kind_of(self.classes)

    @property
    def has_label(self) -> np.ndarray:
        """(n,) bool: whether the file has a label for the row."""
        return self.label_kind.known(self.label)

    def at(self, rows: np.ndarray) -> Domain:
        """Return the domain of the rows (m,) at these places alone; a row keeps its number in the file."""

        def part(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[rows]

        return replace(
            self,
            inputs=take(self.inputs, rows),
            label=self.label[rows],
            split=part(self.split),
            row_numbers=self.numbers[rows],
            row_hash=part(self.row_hash),
            aside=None if self.aside is None else self.aside.iloc[rows],
            extra={name: column[rows] for name, column in self.extra.items()},
        )

    def __len__(self) -> int:
        return self.inputs.shape[0]


def take(inputs: RawInputs, rows: np.ndarray) -> RawInputs:
    """Return the rows of raw inputs of any kind at these places."""
    return inputs.iloc[rows] if hasattr(inputs, "iloc") else inputs[rows]
