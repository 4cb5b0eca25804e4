"""A finished run, ready to predict: the selected weights, the fitted transform and the class names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import OmegaConf
from torch import Tensor

from tl_research.storage.names import MODEL_FILE
from tl_research.storage.checkpoints import applying, fitting, load_model_file, refuse_nan
from tl_research.config import DataConfig, compose
from tl_research.data.domain import Domain
from tl_research.outcomes.label_scale import LabelScale
from tl_research.data.new_rows import NewRows, read_new_rows, schema_of_transform, table_of
from tl_research.data.readers.schema import Schema
from tl_research.data.transforms.matrix import MatrixTransform
from tl_research.data.transforms.table import TableTransform
from tl_research.data.transforms.make import transform_from_state
from tl_research.errors import DataError
from tl_research.evaluation.evaluator import predict
from tl_research.methods.build import build_method
from tl_research.methods.base import AdaptationModule
from tl_research.registry import DATASETS


@dataclass
class Predictor:
    """What `model.ckpt` of a run holds.

    Fields:
        module: the method with its selected weights, in evaluation mode.
        transform: raw rows -> inputs, with the statistics of the run's training rows.
        classes: names of the classes, in the order of the logits; empty for regression.
        epoch: the epoch that the weights are of.
        data: group `data` of the run's configuration.
        label_scale: of a regression target; None for classes.
        path: the file, for messages.
        schema: how training read the columns of its tables.
    """

    module: AdaptationModule
    transform: MatrixTransform | TableTransform
    classes: list[str]
    epoch: int
    data: DataConfig
    label_scale: LabelScale | None = None
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
            transform = transform_from_state(content["transform"])
            module = build_method(config, transform.spec, len(content["classes"]))
            module.load_state_dict(content["model"])
            scale = content.get("label_scale")
            label_scale = None if scale is None else LabelScale(**scale)
            data = OmegaConf.to_object(config.data)
        refuse_nan(path, module)
        module.eval()
        state = content.get("schema")
        with fitting(path):
            schema = (
                schema_of_transform(transform, regression=scale is not None)
                if state is None
                else Schema.from_state(state)
            )
        return cls(module, transform, list(content["classes"]), content["epoch"], data, label_scale, path, schema)

    def read(self, path: str | Path, *, label: str | None = None, need_label: bool = False) -> Domain:
        """Read new rows as training read its own, with remarks on what differs.

        Args:
            path: table, matrix, or folder of images.
            label: the label column; default that of the run.
            need_label: whether labels are read; they are ignored otherwise, whatever they hold.

        Raises:
            DataError: the file, row and column of what cannot be read.
        """
        label = label or self.data.label
        ignored = filter(None, (label, self.data.label, getattr(self.data, "domain_column", None)))
        drop = tuple(getattr(self.data, "drop", ()))
        schema = self.schema or schema_of_transform(self.transform, regression=self.regression)
        new = NewRows(
            schema,
            table_of(self.transform),
            label,
            need_label,
            (*drop, *dict.fromkeys(ignored)),
            getattr(self.transform, "width", None),
        )
        read_products = getattr(DATASETS.get(self.data.name).target, "read_new_rows", None)
        if read_products is not None:
            return read_products(str(path), self.data, tuple(self.classes), new)
        return read_new_rows(str(path), self.classes, new, drop=drop)

    @property
    def regression(self) -> bool:
        """Whether it predicts a number rather than a class."""
        return self.label_scale is not None

    def logits(self, raw) -> Tensor:
        """Return logits (n, classes) for raw rows (a matrix or a DataFrame of feature columns).

        For regression (n, 1) on the standardised scale; `values` has the label's own unit.
        """
        with applying(self.path):
            logits = predict(self.module, self.transform.transform(raw))[1]
        wrong = ~torch.isfinite(logits).all(1)
        if wrong.any():
            raise DataError(
                f"{self.path}: {int(wrong.sum())} of {len(logits)} predictions are not finite numbers; the weights or "
                "the transform are altered, or the new rows are far beyond those of training"
            )
        return logits

    def probabilities(self, raw) -> Tensor:
        """Return class probabilities (n, classes), float64; `ValueError` for regression."""
        if self.regression:
            raise ValueError("a regression has no class probabilities; `values` predicts the number")
        return torch.softmax(self.logits(raw).double(), dim=1)

    def values(self, raw) -> Tensor:
        """Return predicted numbers (n,) in the label's unit, float64; `ValueError` for classes."""
        if self.label_scale is None:
            raise ValueError("a classifier predicts no number; see `probabilities`")
        return self.label_scale.restored(self.logits(raw)[:, 0])
