"""A finished run, ready to predict: the selected weights, the fitted transform and the class names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from omegaconf import OmegaConf
from torch import Tensor

from tl_research.config import DataConfig, compose
from tl_research.data.domain import Domain
from tl_research.data.fitted import FittedData
from tl_research.data.new_rows import schema_of_transform
from tl_research.data.readers.schema import Schema
from tl_research.data.transforms.interactions import InteractionTransform
from tl_research.data.transforms.matrix import MatrixTransform
from tl_research.data.transforms.table import TableTransform
from tl_research.errors import DataError
from tl_research.evaluation.measure import predict
from tl_research.methods.base import AdaptationModule
from tl_research.methods.build import build_method
from tl_research.outcomes import Outcome
from tl_research.storage.checkpoints import applying, fitting, load_model_file, refuse_nan
from tl_research.storage.names import MODEL_FILE


@dataclass
class Predictor:
    """What `model.ckpt` of a run holds.

    Fields:
        module: the method with its selected weights, in evaluation mode.
        transform: raw rows -> inputs, with the statistics of the run's training rows.
        outcome: what it predicts.
        epoch: the epoch that the weights are of.
        data: group `data` of the run's configuration.
        path: the file, for messages.
        schema: how training read the columns of its tables.
    """

    module: AdaptationModule
    transform: MatrixTransform | TableTransform
    outcome: Outcome
    epoch: int
    data: DataConfig
    path: Path | None = None
    schema: Schema | None = None

    @classmethod
    def load(cls, folder: str | Path) -> Predictor:
        """Read a run folder.

        Raises:
            DataError: there is no readable model file in it.
        """
        content, path = load_model_file(folder), Path(folder) / MODEL_FILE
        with fitting(path):
            config = compose(content["config"], resolved=True)
            fitted = FittedData.of(content)
            module = build_method(config, fitted.transform.spec, fitted.outcome)
            module.load_state_dict(content["model"])
            data = OmegaConf.to_object(config.data)
        refuse_nan(path, module)
        module.eval()
        return cls(module, fitted.transform, fitted.outcome, content["epoch"], data, path, fitted.schema)

    def read(
        self,
        path: str | Path | pd.DataFrame,
        *,
        label: str | None = None,
        need_label: bool = False,
        keep: Sequence[str] = (),
    ) -> Domain:
        """Read new rows as training read its own, with remarks on what differs.

        Args:
            path: table, matrix, or folder of images; or a DataFrame, whose texts are read as those of a CSV file.
            label: the label column; default that of the run.
            need_label: whether labels are read; they are ignored otherwise, whatever they hold.
            keep: columns of the file that `Domain.aside` hands through, as they stand.

        Raises:
            DataError: the file, row and column of what cannot be read.
        """
        if isinstance(self.transform, InteractionTransform):
            raise DataError(f"{self.path}: is a recommender: give it users, `predict --users FILE`")
        schema = self.schema or schema_of_transform(self.transform, self.outcome.kind)
        fitted = FittedData(self.transform, self.outcome, schema)
        return fitted.read(path, self.data, label=label, need_label=need_label, keep=keep)

    def outputs(self, raw: Any) -> Tensor:
        """Return outputs (n, outcome.width) for raw rows (a matrix or a DataFrame of feature columns).

        Raises:
            DataError: one is nan or infinite.
        """
        with applying(self.path):
            outputs = predict(self.module, self.transform.transform(raw))[1]
        wrong = ~torch.isfinite(outputs).all(1)
        if wrong.any():
            raise DataError(
                f"{self.path}: {int(wrong.sum())} of {len(outputs)} predictions are not finite numbers; the weights or "
                "the transform are altered, or the new rows are far beyond those of training"
            )
        return outputs

    def columns(self, raw: Any) -> dict[str, np.ndarray]:
        """Return the columns of a file of predictions: `prediction`, and of classes `p_<class>`."""
        return self.outcome.columns(self.outputs(raw))

    def predict(self, data: pd.DataFrame | str | Path) -> pd.DataFrame:
        """Return the predictions of new rows, one row each: `prediction`, and of classes `p_<class>`.

        Args:
            data: a DataFrame, whose index the predictions have, or a file. Columns are read as training read its own;
                further ones are ignored.

        Raises:
            DataError: a column that training had is not there, or a cell cannot be read.
        """
        index = data.index if isinstance(data, pd.DataFrame) else None
        return pd.DataFrame(self.columns(self.read(data).inputs), index=index)

    def probabilities(self, raw: Any) -> Tensor:
        """Return class probabilities (n, classes), float64.

        Raises:
            ValueError: it predicts no class.
        """
        return self._of_kind(raw, "probabilities", "no class probabilities")

    def values(self, raw: Any) -> Tensor:
        """Return predicted numbers (n,) in the label's unit, float64.

        Raises:
            ValueError: it predicts no number.
        """
        return self._of_kind(raw, "values", "no number")

    def _of_kind(self, raw: Any, name: str, lacks: str) -> Tensor:
        if not hasattr(self.outcome, name):
            raise ValueError(f"a {self.outcome.kind} has {lacks}; `columns` has what is predicted")
        return getattr(self.outcome, name)(self.outputs(raw))
