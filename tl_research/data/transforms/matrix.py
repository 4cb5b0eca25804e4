"""Matrices, dense or sparse: every column is scaled by statistics of the training rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import Tensor

from tl_research.data.transforms.numbers import (
    as_array,
    blocks,
    moments,
    refuse_non_finite,
    refuse_overflow,
    scale_block,
)
from tl_research.data.transforms.spec import InputSpec
from tl_research.errors import DataError


class MatrixTransform:
    """Feature matrices to a float32 tensor (n, d); see `make_transform`.

    Args:
        scale: one of `SCALES`.
        mean, factor: (d,) float64: `standard` gives (x - mean) * factor, with factor 1 / std, or 0 for a column
            that was constant; empty for other scales.
        width: d.
    """

    def __init__(self, scale: str, width: int, mean: np.ndarray, factor: np.ndarray):
        self.scale, self.width, self.mean, self.factor = scale, width, mean, factor

    @classmethod
    def fit(cls, parts: Sequence[np.ndarray | sp.csr_matrix], scale: str) -> MatrixTransform:
        """Fit the scale to the training rows of all domains together.

        Args:
            parts: (n_k, d) training rows of each domain; dense, or sparse by rows.
            scale: `data.scale`; only `standard` has something to fit, a mean and a deviation per column.

        Raises:
            DataError: domains of unequal width, or a number that is not finite.
        """
        width = parts[0].shape[1]
        empty = np.zeros(0)
        fitted = cls(scale, width, empty, empty)
        for part in parts:
            fitted._check_columns(part)
        if scale == "standard":
            fitted.mean, fitted.factor = moments(parts)
        return fitted

    @property
    def spec(self) -> InputSpec:
        """As many float columns as the matrix has."""
        return InputSpec(numeric=self.width)

    @property
    def info(self) -> dict[str, Any]:
        """Facts for the result record."""
        return {"scale": self.scale, "features": self.width}

    @property
    def remarks(self) -> list[str]:
        """Nothing is left out of a matrix."""
        return []

    def transform(self, raw: np.ndarray | sp.csr_matrix) -> Tensor:
        """Return (n, d) float32."""
        self._check_columns(raw)
        out = np.empty((raw.shape[0], self.width), dtype=np.float32)
        for start, block in blocks(raw):
            refuse_non_finite(block, start)
            scaled = scale_block(block, self.scale, self.mean, self.factor, start)
            refuse_overflow(scaled, block, start)
            out[start : start + len(block)] = scaled
        return torch.from_numpy(out)

    def unseen_counts(self, raw: np.ndarray | sp.csr_matrix) -> dict[str, int]:
        """A matrix has no categories: nothing is unseen."""
        self._check_columns(raw)
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Scale, width, and the mean (d,) and factor (d,) of each column."""
        return {
            "kind": "matrix",
            "scale": self.scale,
            "width": self.width,
            "mean": torch.from_numpy(self.mean.copy()),
            "factor": torch.from_numpy(self.factor.copy()),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> MatrixTransform:
        """Make the transform of what `state_dict` gave."""
        return cls(state["scale"], state["width"], as_array(state["mean"]), as_array(state["factor"]))

    def _check_columns(self, raw) -> None:
        if isinstance(raw, pd.DataFrame):
            raise DataError("a table was given where a feature matrix is wanted")
        if raw.ndim != 2 or raw.shape[1] != self.width:
            raise DataError(f"features of shape {tuple(raw.shape)}, wants (rows, {self.width})")
