"""What every validator does with the rows that it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def finite_matrix(name: str, tensor: Tensor) -> np.ndarray:
    """Return rows (n, d) in float64.

    Raises:
        ValueError: no rows, another shape, or a value that is not finite.
    """
    if tensor.ndim != 2 or 0 in tensor.shape:
        raise ValueError(f"{name}: got shape {tuple(tensor.shape)}, wants rows and columns")
    matrix = tensor.detach().double().cpu().numpy()
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        raise ValueError(f"{name}: {matrix[row, column]} in row {row}, column {column}; all values must be finite")
    return matrix


def some_rows(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Return the rows, or as many as `most` drawn of them where there are more."""
    return rows if len(rows) <= most else rows[rng.choice(len(rows), most, replace=False)]
