"""Streaming kernel sums on CUDA, written in Triton; the third backend beside `reference` and `tiled`.

Three tiers, chosen by a fixed table (`triton_plan`) from the card, dtype, d and the number of rows:

1. small (at most 1,024 rows and columns, d <= 256): one launch does all, norms included;
2. panels: Gram matrices of a block of rows and of columns by the library, one fused kernel for everything between them
   and the gradient's product. Where the library's product is the fastest: d > 256, float32, several classes, several
   layers, few rows;
3. tiles (half precision, d <= 256, many rows): a program owns a block of rows and walks over the columns, as flash
   attention does; nothing but its results leaves the chip. Programs share the columns of a block where blocks are few.

No tier keeps more than O((n + m) d) and one panel, uses atomics or reads the device from the host, so that one call
gives the same bits each time, as far as the library's products do. Products of float32 rows are float32 ones or, of
many rows, three of bfloat16 (`triton_products`), never TF32. P of the gradient is rounded to the type of
half-precision rows: to bfloat16 (relative error 2^-9 per entry, without bias), or to float16 as a share of the largest.

Left to the tiled backend: more than three layers, float64 rows, and weights of more than 64 classes.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from types import ModuleType

import torch
from torch import Tensor

from tl_research.kernels.backends.protocol import Sums
from tl_research.kernels.kernel import Kernel

HALF = True
#: Classes that a block of rows can sum at once.
MOST_CLASSES = 64
#: Layers whose kernels one pass multiplies: each is computed anew for the slope of each.
MOST_LAYERS = 3
#: Rows begin at multiples of so many numbers.
PITCH = 16


def available(device: torch.device) -> bool:
    """Whether this backend runs here.

    Triton must be installed, and the device be CUDA (compute capability 8.0 and above) or Triton's interpreter be on.
    """
    interpreted = os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes", "y")
    if not interpreted and device.type != "cuda":
        return False  # asked for at every call on a CPU: the search for the package comes last
    runs = interpreted or torch.cuda.get_device_capability(device) >= (8, 0)
    return runs and find_spec("triton") is not None


def equal_sums(
    rows: Tensor,
    width: int,
    n_x: int,
    scale: tuple[float, float, float],
    kernel: Kernel,
    *,
    gradient: tuple[bool, bool],
) -> tuple[Tensor, Tensor | None]:
    """`pair_sums` where every row weighs 1 and `scale` is known to the host: fewer operations, one launch of few rows.

    Args:
        rows: (n, d), centred, float32 or half precision; d a multiple of `PITCH`, if need be with 0 at the end.
        width: d without those.
        n_x: how many of them are x.
        scale: of pairs within x, within y and across (both orders).
        kernel: of one layer.
        gradient: whether dL/d(rows) of each side is wanted.

    Returns:
        L, scalar float64, and dL/d(rows) (n, width) float32 or None.
    """
    arguments = dict(
        rows=(rows,), rows_x=n_x, columns=(rows,), columns_x=n_x, row_weight=None, column_weight=None, scale=scale,
        kernel=kernel, widths=(width,), own=True,
    )  # fmt: skip
    partial, grad, _ = _run(arguments, gradient, "none")
    return partial.sum(), None if grad is None else grad[0]


def pair_sums(rows, n_x, weight, scale, kernel: Kernel, *, gradient, weight_gradient) -> Sums:
    """See `Backend.pair_sums`."""
    if _left_to_tiled(rows, weight):
        return _tiled().pair_sums(rows, n_x, weight, scale, kernel, gradient=gradient, weight_gradient=weight_gradient)
    z, weight = tuple(map(_pitched, rows)), _narrow(weight)
    arguments = dict(
        rows=z, rows_x=n_x, columns=z, columns_x=n_x, row_weight=weight, column_weight=weight, scale=_narrow(scale),
        kernel=kernel, widths=_widths(rows), own=True,
    )  # fmt: skip
    return _sums(arguments, gradient, weight_gradient)


def row_sums(
    rows,
    rows_x,
    columns,
    columns_x,
    row_weight,
    column_weight,
    scale,
    kernel: Kernel,
    *,
    self_column,
    gradient,
    weight_gradient,
) -> Sums:
    """See `Backend.row_sums`."""
    if _left_to_tiled(rows, row_weight):
        return _tiled().row_sums(
            rows,
            rows_x,
            columns,
            columns_x,
            row_weight,
            column_weight,
            scale,
            kernel,
            self_column=self_column,
            gradient=gradient,
            weight_gradient=weight_gradient,
        )
    arguments = dict(
        rows=tuple(map(_pitched, rows)),
        rows_x=rows_x,
        columns=tuple(map(_pitched, columns)),
        columns_x=columns_x,
        row_weight=_narrow(row_weight),
        column_weight=_narrow(column_weight),
        scale=_narrow(scale),
        kernel=kernel,
        widths=_widths(rows),
        self_column=None if self_column is None else self_column.contiguous(),
    )
    return _sums(arguments, gradient, weight_gradient)


def gram_product(rows: list[Tensor], columns: list[Tensor], vectors: Tensor, kernel: Kernel) -> Tensor:
    """See `Backend.gram_product`."""
    if _left_to_tiled(rows, vectors):
        return _tiled().gram_product(rows, columns, vectors, kernel)
    row_weight = rows[0].new_zeros((len(rows[0]), vectors.shape[1]), dtype=torch.float32)
    arguments = dict(
        rows=tuple(map(_pitched, rows)),
        rows_x=len(rows[0]),
        columns=tuple(map(_pitched, columns)),
        columns_x=len(columns[0]),
        row_weight=row_weight,
        column_weight=_narrow(vectors),
        scale=row_weight.new_zeros(3, vectors.shape[1]),
        kernel=kernel,
        widths=_widths(rows),
    )
    return _run(arguments, (False, False), "plain")[2]


def _left_to_tiled(rows: list[Tensor], weight: Tensor) -> bool:
    alike = {part.dtype for part in rows}
    return (
        len(alike) > 1 or torch.float64 in alike or len(rows) > MOST_LAYERS or not 1 <= weight.shape[1] <= MOST_CLASSES
    )


def _tiled() -> ModuleType:
    from tl_research.kernels.backends import tiled

    return tiled


def _pitched(rows: Tensor) -> Tensor:
    """Return the rows one after another, each begun at a multiple of 16 numbers, with zeros in between.

    So that they are loaded 16 bytes at a time, whatever d.
    """
    beyond = -rows.shape[1] % PITCH
    return torch.nn.functional.pad(rows, (0, beyond)) if beyond else rows.contiguous()


def _widths(rows: list[Tensor]) -> tuple[int, ...]:
    return tuple(part.shape[1] for part in rows)


def _narrow(weights: Tensor) -> Tensor:
    """Return weights or scales as the kernels multiply by them: float32, one row after another."""
    return weights.to(torch.float32).contiguous()


def _sums(arguments: dict, gradient: tuple[bool, bool], weight_gradient: bool) -> Sums:
    product = "weight_gradient" if weight_gradient else "none"
    partial, grad, weight_grad = _run(arguments, gradient, product)
    return Sums(partial.sum(dim=0), grad or [], weight_grad)


def _run(arguments: dict, gradient: tuple[bool, bool], product: str) -> tuple:
    # these import triton, and define their kernels for the interpreter or for the device at that moment
    from tl_research.kernels.backends import triton_panels, triton_plan, triton_tiles

    task = triton_plan.Task(**arguments)
    path = triton_panels if triton_plan.by_panels(task) else triton_tiles
    with torch.cuda.device_of(task.rows[0]):
        return path.run(task, gradient, product)
