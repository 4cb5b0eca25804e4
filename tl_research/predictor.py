"""A finished run, ready to predict: the selected weights, the fitted transform and the class names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import OmegaConf
from torch import Tensor

from tl_research.checkpoint import MODEL_FILE, applying, fitting, load_model_file, refuse_nan
from tl_research.config import DataConfig, compose
from tl_research.data.label_scale import LabelScale
from tl_research.data.transform import MatrixTransform, TableTransform, transform_from_state
from tl_research.errors import DataError
from tl_research.evaluation.evaluator import predict
from tl_research.experiment import build_method
from tl_research.methods.base import AdaptationModule


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
    """

    module: AdaptationModule
    transform: MatrixTransform | TableTransform
    classes: list[str]
    epoch: int
    data: DataConfig
    label_scale: LabelScale | None = None
    path: Path | None = None

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
        return cls(module, transform, list(content["classes"]), content["epoch"], data, label_scale, path)

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
        if not bool(torch.isfinite(logits).all()):
            raise DataError(f"{self.path}: predicts nan or infinity; its weights or its transform are altered")
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
