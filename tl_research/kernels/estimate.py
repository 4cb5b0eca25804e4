"""The biased and the unbiased estimate of squared MMD from weighted pair sums, for rows of one or several layers."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.kernels import equal_on_device, equal_weights
from tl_research.kernels.arguments import checked_weight
from tl_research.kernels.kernel import Kernel
from tl_research.kernels.ops import mmd_sum


def estimate_mmd2(
    x: list[Tensor],
    y: list[Tensor],
    x_weight: Tensor | None,
    y_weight: Tensor | None,
    kernel: Kernel,
    *,
    estimator: str,
    detach: str | None,
    backend: str,
    caller: str,
) -> Tensor:
    """Return the estimate; what it computes is told by `mmd2`. Rows, kernel and names have been checked."""
    x_weight, y_weight = _checked_weights(x[0], y[0], x_weight, y_weight, estimator, caller)
    if x_weight is None and y_weight is None:
        if equal_on_device.serves(x, y, backend):
            return equal_on_device.equal_mmd2(x[0], y[0], kernel, unbiased=estimator == "unbiased", detach=detach)
        if equal_weights.serves(x, kernel, backend):
            return _of_equal_weights(x[0], y[0], kernel, estimator, detach)
    if detach == "x" and x_weight is not None:
        x_weight = x_weight.detach()
    if detach == "y" and y_weight is not None:
        y_weight = y_weight.detach()
    by_class = x_weight is not None and x_weight.ndim == 2
    w, x_squares = _relative(x[0], x_weight)
    v, y_squares = _relative(y[0], y_weight)
    n, m = x[0].shape[0], y[0].shape[0]
    within_x, within_y = (1 - x_squares, 1 - y_squares) if estimator == "unbiased" else (1, 1)
    part = torch.ones_like(x_squares + y_squares)  # of each class in the mean over classes
    if by_class:
        # all of these compare false with NaN, so that a bad weight is not taken for a class without weight
        left_out = (x_squares == 0) | (y_squares == 0)
        if estimator == "unbiased":
            left_out = left_out | (within_x <= 0) | (within_y <= 0)
            within_x, within_y = torch.where(left_out, 1, within_x), torch.where(left_out, 1, within_y)
        part = (~left_out).double() / (~left_out).sum().clamp_min(1)
    scale = torch.stack([part / within_x / n**2, part / within_y / m**2, -part / (n * m)])
    value = mmd_sum(x, y, w, v, scale, kernel, detach=detach, backend=backend)
    if estimator == "biased":
        value = value + kernel.at_zero * (part * (x_squares + y_squares)).sum()
    return value.to(torch.promote_types(x[0].dtype, torch.float32))


def _of_equal_weights(x: Tensor, y: Tensor, kernel: Kernel, estimator: str, detach: str | None) -> Tensor:
    n, m = x.shape[0], y.shape[0]
    unbiased = estimator == "unbiased"
    within = [rows * (rows - 1) if unbiased else rows**2 for rows in (n, m)]
    value = equal_weights.equal_weights_sum(x, y, kernel, (1 / within[0], -1 / (n * m), 1 / within[1]), detach)
    if not unbiased:
        value = value + kernel.at_zero * (1 / n + 1 / m)
    return value.to(torch.promote_types(x.dtype, torch.float32))


def check_row_counts(x: Tensor, y: Tensor, estimator: str, by_class: bool, caller: str) -> None:
    """Refuse fewer rows than the estimator needs; a class without enough of them is merely left out.

    Raises:
        ValueError: begins with `caller`, and names the side.
    """
    needed = rows_needed(estimator)
    for name, rows in (("x", x), ("y", y)):
        if rows.shape[0] < needed and not by_class:
            raise ValueError(f"{caller}: {name} has {rows.shape[0]} row(s); the {estimator} estimator needs {needed}")


def rows_needed(estimator: str) -> int:
    """Rows of positive weight that a side must have."""
    return 1 if estimator == "biased" else 2


def _checked_weights(x, y, x_weight, y_weight, estimator, caller):
    by_class = [weight is not None and weight.ndim == 2 for weight in (x_weight, y_weight)]
    check_row_counts(x, y, estimator, any(by_class), caller)
    needed = rows_needed(estimator)
    if x_weight is not None:
        x_weight = checked_weight("x", x_weight, x, needed, caller)
    if y_weight is not None:
        y_weight = checked_weight("y", y_weight, y, needed, caller)
    if any(by_class) and (not all(by_class) or x_weight.shape[1] != y_weight.shape[1]):
        got = " and ".join("None" if weight is None else str(tuple(weight.shape)) for weight in (x_weight, y_weight))
        raise ValueError(f"{caller}: x_weight and y_weight: got {got}; per-class weights are (n, C) and (m, C)")
    return x_weight, y_weight


def _relative(rows: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return weights (n, C) whose mean is 1 in every column, and the sums of squared shares (C,)."""
    n = rows.shape[0]
    if weight is None:
        return rows.new_ones((n, 1), dtype=torch.float64), rows.new_full((1,), 1 / n, dtype=torch.float64)
    total = weight.sum(dim=0)
    if weight.ndim == 2:
        total = torch.where(total == 0, 1, total)
    share = weight / total
    share = share if weight.ndim == 2 else share[:, None]
    return n * share, share.square().sum(dim=0)
