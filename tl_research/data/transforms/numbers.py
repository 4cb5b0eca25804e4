"""Means, scales and peaks of training rows, block by block, and their use on other rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sp
from torch import Tensor

from tl_research.errors import DataError
from tl_research.nn.rounding import relative_rounding

_ROWS_AT_ONCE = 4096
#: Magnitudes from this number to its inverse can be squared and summed in float64 without overflow or underflow.
_LEAST = 1e-100


def moments(
    parts: Sequence[np.ndarray | sp.csr_matrix], rounding: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and 1/std of each column over all parts; the factor of a constant column is 0.

    A column is constant where its numbers differ by no more than the rounding of their magnitude (0.3 and 0.1 + 0.2):
    the share `rounding` of it, or that of the parts' own numbers.
    """
    count = sum(part.shape[0] for part in parts)
    total, low, high = 0.0, np.inf, -np.inf
    for part in parts:
        for start, block in blocks(part):
            refuse_non_finite(block, start)
            with np.errstate(over="ignore", invalid="ignore"):
                total = total + block.sum(axis=0)
            low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
    peak = np.maximum(np.abs(low), np.abs(high))
    # Where sums or squares would leave float64, divide by a power of two: it costs no digits.
    extreme = (peak > 0) & ((peak < _LEAST) | (peak > 1 / _LEAST))
    unit = np.where(extreme, np.exp2(np.floor(np.log2(np.where(extreme, peak, 1.0)))), 1.0)
    if extreme.any():
        total = sum((block / unit).sum(axis=0) for part in parts for _, block in blocks(part))
    mean = total / count * unit
    # A second pass is needed: "mean of squares minus square of the mean" loses its digits where the mean is large.
    squares = sum((((block - mean) / unit) ** 2).sum(axis=0) for part in parts for _, block in blocks(part))
    std = np.sqrt(squares / count) * unit
    # Judge constancy by the range: the rounding of a mean over many rows exceeds that of the numbers.
    rounding = max(relative_rounding(part.dtype) for part in parts) if rounding is None else rounding
    noise = high / unit - low / unit <= rounding * (peak / unit)
    if (noise & (high > low)).any():
        noise &= ~_whole(parts, peak)
    with np.errstate(divide="ignore", over="ignore"):
        factor = 1.0 / std
    return mean, np.where((high > low) & ~noise & np.isfinite(factor), factor, 0.0)


def _whole(parts: Sequence[np.ndarray | sp.csr_matrix], peak: np.ndarray) -> np.ndarray:
    """Which columns hold only whole numbers that float64 holds exactly, so that a difference of 1 is never rounding."""
    whole = peak < 2**53
    for part in parts:
        for _, block in blocks(part):
            whole &= (block == np.rint(block)).all(axis=0)
    return whole


def blocks(raw: np.ndarray | sp.csr_matrix) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, dense float64 block) of a matrix, so that a sparse one is never dense as a whole."""
    for start in range(0, raw.shape[0], _ROWS_AT_ONCE):
        block = raw[start : start + _ROWS_AT_ONCE]
        yield start, np.asarray(block.toarray() if sp.issparse(block) else block, dtype=np.float64)


def scale_block(block, scale: str, mean, factor, first_row: int, names: Sequence[str] | None = None) -> np.ndarray:
    """Scale a dense block (n, d), as `data.scale` says.

    `standard`: (x - mean) * factor per column. `unit`: x / ||x|| per row; a row of zeros stays. `log1p`: ln(1 + x).
    `log1p_unit`: `log1p`, then `unit`. `none`: the block as it is.

    Args:
        block: (n, d) float64.
        scale: one of `SCALES`.
        mean: (d,), read by `standard` alone.
        factor: (d,), 1 / standard deviation, or 0 for a constant column; read by `standard` alone.
        first_row: number of the block's first row, for messages.
        names: names of the columns, for messages.

    Returns:
        (n, d) float64.

    Raises:
        DataError: a negative number under a logarithm.
    """
    if scale == "standard":
        return (block - mean) * factor
    if scale in ("log1p", "log1p_unit"):
        if (block < 0).any():
            row, column = np.argwhere(block < 0)[0]
            name = repr(names[column]) if names else column
            raise DataError(
                f"row {first_row + row}, column {name}: {block[row, column]:g} is negative, and data.scale={scale} "
                "takes a logarithm of 1 + x; choose data.scale=standard"
            )
        block = np.log1p(block)
    if scale in ("unit", "log1p_unit"):
        peak = np.abs(block).max(axis=1, keepdims=True, initial=0.0)
        # As in `moments`: squares must not leave float64.
        extreme = (peak > 0) & ((peak < _LEAST) | (peak > 1 / _LEAST))
        if extreme.any():
            block = np.where(extreme, block / np.where(extreme, peak, 1.0), block)
        norm = np.linalg.norm(block, axis=1, keepdims=True)
        block = block / np.where(norm > 0, norm, 1.0)
    return block


def refuse_non_finite(block: np.ndarray, first_row: int) -> None:
    """Raise `DataError` at the first nan or infinity of a block, by row (counted from `first_row`) and column."""
    if not np.isfinite(block).all():
        row, column = np.argwhere(~np.isfinite(block))[0]
        raise DataError(f"row {first_row + row}, column {column}: {block[row, column]} is not a finite number")


def refuse_overflow(scaled: np.ndarray, block: np.ndarray, first_row: int) -> None:
    """Refuse numbers beyond the range of float32, which the transform would silently make infinite.

    Raises:
        DataError: names the row (counted from `first_row`) and column of such a number.
    """
    beyond = np.abs(scaled) > np.finfo(np.float32).max
    if beyond.any():
        row, column = np.argwhere(beyond)[0]
        raise DataError(
            f"row {first_row + row}, column {column}: {block[row, column]:g} is beyond what float32 holds behind "
            "data.scale; mend the value, or choose data.scale=standard"
        )


def as_array(tensor: Tensor) -> np.ndarray:
    """Return a tensor as a float64 array on the CPU, outside autograd."""
    return tensor.detach().cpu().numpy().astype(np.float64)
