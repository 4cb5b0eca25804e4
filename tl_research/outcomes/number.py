"""A number: networks train on standardised labels and are measured in the label's own unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from tl_research.errors import DataError
from tl_research.metrics.intervals import number_interval
from tl_research.metrics.numbers import NumberRows, regression_metrics
from tl_research.nn.rounding import relative_rounding
from tl_research.outcomes.base import Outcome


@dataclass(frozen=True)
class NumberOutcome(Outcome):
    """Labels (n,) are numbers y, the output (n, 1) is z = (y - mean) / std, and the loss is the squared error of z.

    Fields:
        mean, std: of the labels that training may see, in the label's unit; std > 0.
    """

    mean: float
    std: float

    kind: ClassVar[str] = "regression"
    main: ClassVar[str] = "r2"
    second: ClassVar[str] = "rmse"
    plural: ClassVar[str] = "numbers"
    shots: ClassVar[str] = "in all"

    @classmethod
    def fit(cls, labels: Sequence[Tensor]) -> NumberOutcome:
        """Fit to labels (n,) of every part; they must be known.

        Raises:
            DataError: there is none, they are all equal up to rounding, or their squares leave float64.
        """
        label = torch.cat([part.double() for part in labels])
        if label.numel() == 0:
            raise DataError("data.label: every label that training may see is missing; there is nothing to regress on")
        low, high = label.aminmax()
        peak = torch.maximum(low.abs(), high.abs())
        exact = bool((label == label.round()).all()) and float(peak) < 2**53
        rounding = 0.0 if exact else max(relative_rounding(part.dtype) for part in labels) * float(peak)
        if float(high - low) <= rounding:
            said = f"is {label[0].item():g}"
            raise DataError(f"data.label: every label that training may see {said}; there is nothing to regress on")
        mean, std = label.mean().item(), label.std(correction=0).item()
        if not (std > 0 and math.isfinite(std) and math.isfinite(mean)):
            said = f"labels from {low.item():g} to {high.item():g} leave float64 when they are squared"
            raise DataError(f"data.label: {said}; give them in another unit")
        return cls(mean, std)

    @property
    def width(self) -> int:
        return 1

    @property
    def facts(self) -> dict[str, Any]:
        return {"label": asdict(self)}

    def scaled(self, label: Tensor) -> Tensor:
        """Labels (n,) in their own unit -> float64 (n,) of mean 0 and variance 1; nan stays nan."""
        return (label.double() - self.mean) / self.std

    def restored(self, scaled: Tensor) -> Tensor:
        """The inverse of `scaled`, float64."""
        return scaled.double() * self.std + self.mean

    def values(self, outputs: Tensor) -> Tensor:
        """Return predicted numbers (n,) in the label's unit, float64."""
        return self.restored(outputs[:, 0])

    def row_losses(self, outputs: Tensor, label: Tensor) -> Tensor:
        return (outputs[:, 0] - label.to(outputs.dtype)).square()

    def row_gradients(self, outputs: Tensor, label: Tensor) -> Tensor:
        """2 (z - y)."""
        return 2 * (outputs - label.to(outputs.dtype)[:, None])

    def metrics(self, outputs: Tensor, label: Tensor) -> dict[str, float]:
        return regression_metrics(self.values(outputs), label)

    def rows_of(self, outputs: Tensor, label: Tensor, group: np.ndarray | None = None) -> NumberRows:
        return NumberRows.of(self.values(outputs), label)

    def interval(self, metric: str, value: float, outputs: Tensor, label: Tensor) -> tuple[float, float] | None:
        return number_interval(metric, self.values(outputs).numpy(), label.double().numpy())

    def selection_metric(self, own: str) -> str:
        """For R² rules read RMSE, which puts epochs in the same order and has a value on a split of one row too."""
        shown = self.shown_metric(own)
        return "rmse" if shown == "r2" else shown

    def columns(self, outputs: Tensor) -> dict[str, np.ndarray]:
        return {"prediction": self.values(outputs).numpy()}

    def state_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}
