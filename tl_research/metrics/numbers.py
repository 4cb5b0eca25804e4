"""Metrics of numbers, in the label's own unit, computed exactly in float64.

torchmetrics has all three. Its sums run in another order, so `rmse` and `mae` differ from these in the last bits, and
its R² takes the spread of the labels as Σ y² - n (mean y)², which cancels for labels far from 0. These functions stay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tl_research.metrics.registered import metric, values_of


@dataclass(frozen=True, eq=False)
class NumberRows:
    """Rows with a number each: what a metric `of="regression"` takes.

    Fields:
        prediction, label: (n,) float64, finite, n >= 1, in the label's own unit.
    """

    prediction: np.ndarray
    label: np.ndarray

    @classmethod
    def of(cls, prediction: Tensor, label: Tensor) -> NumberRows:
        """Check the rows.

        Args:
            prediction: (n,) float.
            label: (n,) float, none of them hidden.

        Raises:
            ValueError: no rows, wrong shapes, or a value that is hidden or not finite.
        """
        if prediction.ndim != 1 or label.shape != prediction.shape or label.numel() == 0:
            shapes = f"prediction {tuple(prediction.shape)} and label {tuple(label.shape)}"
            raise ValueError(f"{shapes}: wants (n,) and (n,)")
        rows = cls(*(part.detach().to("cpu", torch.float64).numpy() for part in (prediction, label)))
        for name, values in vars(rows).items():
            if not np.isfinite(values).all():
                row = int((~np.isfinite(values)).argmax())
                raise ValueError(f"{name}: {values[row]} in row {row}; metrics need finite numbers")
        return rows


@metric("r2", better="high", of="regression", bounds=(-math.inf, 1))
def r2(rows: NumberRows) -> float | None:
    """1 - Σ_i (y_i - f_i)² / Σ_i (y_i - mean y)², with the mean of these rows; None where all labels are equal.

    It is below 0 for predictions that are worse than that mean.
    """
    y = rows.label
    if not y.min() < y.max():
        return None
    return 1 - np.sum((y - rows.prediction) ** 2) / np.sum((y - y.mean()) ** 2)


@metric("rmse", better="low", of="regression", bounds=(0, math.inf))
def rmse(rows: NumberRows) -> float:
    """sqrt(mean (y - f)²)."""
    return np.sqrt(np.mean((rows.label - rows.prediction) ** 2))


@metric("mae", better="low", of="regression", bounds=(0, math.inf))
def mae(rows: NumberRows) -> float:
    """Mean |y - f|."""
    return np.mean(np.abs(rows.label - rows.prediction))


def regression_metrics(prediction: Tensor, label: Tensor) -> dict[str, float]:
    """Compute every metric of numbers that has a value on these rows; arguments and errors as of `NumberRows.of`."""
    return values_of("regression", NumberRows.of(prediction, label))
