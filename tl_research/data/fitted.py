"""What a finished run knows of its rows, from its model file: how columns are read, scaled and labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tl_research.config import DataConfig
from tl_research.data.domain import Domain
from tl_research.data.new_rows import NewRows, read_new_rows, schema_of_transform, table_of
from tl_research.data.readers.schema import Schema
from tl_research.data.transforms.make import transform_from_state
from tl_research.data.transforms.spec import Transform
from tl_research.errors import DataError
from tl_research.outcomes import Outcome, outcome_from
from tl_research.registry import DATASETS


@dataclass(frozen=True)
class FittedData:
    """How a run read its rows, and what it predicts of them.

    Fields:
        transform: raw rows -> inputs, with the statistics of the run's training rows.
        outcome: what is predicted.
        schema: how the columns of its tables were read; made from the transform where the file has none.
    """

    transform: Transform
    outcome: Outcome
    schema: Schema

    @classmethod
    def of(cls, content: dict[str, Any]) -> FittedData:
        """Make it from the content of a model file (`storage.checkpoints.load_model_file`)."""
        transform, outcome = transform_from_state(content["transform"]), outcome_from(content["outcome"])
        state = content.get("schema")
        schema = schema_of_transform(transform, outcome.kind) if state is None else Schema.from_state(state)
        return cls(transform, outcome, schema)

    def read(
        self,
        path: str | Path | pd.DataFrame,
        data: DataConfig,
        *,
        label: str | None = None,
        need_label: bool = False,
        may_lack_labels: bool = False,
        keep: Sequence[str] = (),
    ) -> Domain:
        """Read rows as the run read its own, with remarks on what differs.

        Args:
            path: table, matrix, or folder of images; or a DataFrame, whose texts are read as those of a CSV file.
            data: group `data` of a configuration: the label, and what is left out.
            label: the label column; default that of `data`.
            need_label: whether labels are read; they are ignored otherwise, whatever they hold.
            may_lack_labels: whether a row may be without one, where they are read.
            keep: columns of the file that `Domain.aside` hands through, as they stand.

        Raises:
            DataError: the file, row and column of what cannot be read.
        """
        label, classes = label or data.label, self.outcome.names
        ignored = filter(None, (label, data.label, getattr(data, "domain_column", None)))
        drop = tuple(getattr(data, "drop", ()))
        new = NewRows(
            self.schema,
            table_of(self.transform),
            label,
            need_label,
            (*drop, *dict.fromkeys(ignored)),
            getattr(self.transform, "width", None),
            tuple(keep),
            may_lack_labels,
        )
        read_products = getattr(DATASETS.get(data.name).target, "read_new_rows", None)
        if read_products is not None:
            if isinstance(path, pd.DataFrame):
                raise DataError("a model of products reads a file or a folder, no table in memory")
            return read_products(str(path), data, classes, new)
        return read_new_rows(path if isinstance(path, pd.DataFrame) else str(path), classes, new, drop=drop)
