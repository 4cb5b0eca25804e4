"""Gram panels by the library, with one fused kernel between the two products; memory is one panel, whatever n and m."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from tl_research.kernels.backends import triton_plan
from tl_research.kernels.backends.triton_forms import (
    kernel_and_slope,
    load_scales,
    load_weights,
    outer,
    squared_norms,
    store_sums,
    weighted,
    zero_sums,
)
from tl_research.kernels.backends.triton_plan import Task, segments
from tl_research.kernels.full_precision import full_precision_products

#: Rows, columns and warps of a block of the kernel between the products, for one class and for several.
BLOCK, CLASSES_BLOCK = (4, 512, 4), (16, 128, 4)


@triton.jit(
    do_not_specialize=["row_start", "row_stop", "rows_x", "m", "columns_x", "classes", "first_block"],
)
def _epilogue(
    gram,
    p_panel,
    p_sums,
    row_norms,
    norms,
    row_weight,
    column_weight,
    scale,
    bandwidths,
    self_column,
    product,
    partial,
    alpha,
    row_start,
    row_stop,
    rows_x,
    m,
    columns_x,
    pitch,
    classes,
    first_block,
    BLOCK_I: tl.constexpr,
    BLOCK_J: tl.constexpr,
    PAD: tl.constexpr,
    FAMILY: tl.constexpr,
    LEVELS: tl.constexpr,
    DOUBLING: tl.constexpr,
    SELF: tl.constexpr,
    GRAD: tl.constexpr,
    SUMS: tl.constexpr,
    PRODUCT: tl.constexpr,
):
    """P from the Gram panel (in its place, or in a half-precision panel beside it), with its row sums."""
    block = tl.program_id(0)
    local = block * BLOCK_I + tl.arange(0, BLOCK_I)
    i = row_start + local
    inside = i < row_stop
    norm_i = tl.load(row_norms + i, mask=inside, other=0.0)
    row_is_x = i < rows_x
    weight_i = load_weights(row_weight, i, inside, classes, PAD)
    scale_x, scale_y = load_scales(scale, row_is_x, classes, PAD)
    if SELF == "own":
        self_i = i
    elif SELF == "given":
        self_i = tl.load(self_column + i, mask=inside, other=-1).to(tl.int32)
    kernel_x = zero_sums(BLOCK_I, PAD)
    kernel_y = zero_sums(BLOCK_I, PAD)
    p_sum = tl.zeros((BLOCK_I,), tl.float32)

    tiles_x = tl.cdiv(columns_x, BLOCK_J)
    tiles = tiles_x + tl.cdiv(m - columns_x, BLOCK_J)
    for step in range(0, tiles):
        of_x = step < tiles_x
        start = tl.where(of_x, step * BLOCK_J, columns_x + (step - tiles_x) * BLOCK_J)
        stop = tl.where(of_x, columns_x, m)
        j = start + tl.arange(0, BLOCK_J)
        there = j < stop
        where = local[:, None].to(tl.int64) * pitch + j[None, :]
        seen = inside[:, None] & there[None, :]
        norm_j = tl.load(norms + j, mask=there, other=0.0)
        weight_j = load_weights(column_weight, j, there, classes, PAD)
        value, slope = kernel_and_slope(
            tl.load(gram + where, mask=seen, other=0.0), norm_i, norm_j, bandwidths, alpha, FAMILY, LEVELS, DOUBLING
        )
        if SELF != "none":
            itself = j[None, :] == self_i[:, None]
            value = tl.where(itself, 0.0, value)
            slope = tl.where(itself, 0.0, slope)
        total = weighted(value, weight_j, PAD)
        kernel_x += tl.where(of_x, total, 0.0)
        kernel_y += tl.where(of_x, 0.0, total)
        if GRAD:
            p = outer(weight_i * tl.where(of_x, scale_x, scale_y), weight_j, PAD) * slope
            rounded = p.to(p_panel.dtype.element_ty)
            # the same rounded P in both terms: equal rows still cancel
            p_sum += tl.sum(rounded.to(tl.float32), axis=1)
            tl.store(p_panel + where, rounded, mask=seen)

    if GRAD:
        tl.store(p_sums + local, p_sum, mask=inside)
    store_sums(
        kernel_x,
        kernel_y,
        weight_i,
        scale_x,
        scale_y,
        row_is_x,
        i,
        inside,
        first_block + block,
        classes,
        partial,
        product,
        PAD,
        SUMS,
        PRODUCT,
    )


def run(task: Task, gradient: tuple[bool, bool], product: str) -> tuple[Tensor | None, ...]:
    """Same as `triton_tiles.run`, for any d."""
    n, d = task.rows.shape
    m = len(task.columns)
    block_rows, block_columns, warps = BLOCK if task.pad == 1 else CLASSES_BLOCK
    height = max(block_rows, triton_plan.PANEL_BYTES // (4 * max(m, 1)) // block_rows * block_rows)
    panels = [
        (start, min(start + height, stop), wanted)
        for first, stop, wanted in segments(task, gradient)
        for start in range(first, stop, height)
    ]
    blocks = [triton.cdiv(stop - start, block_rows) for start, stop, _ in panels]
    grad = task.rows.new_empty((n, d), dtype=torch.float32) if any(gradient) else None
    out = task.rows.new_empty((n, task.classes), dtype=torch.float32) if product != "none" else None
    partial = None
    if product != "plain":
        partial = task.rows.new_empty((sum(blocks), 3, task.classes), dtype=torch.float64)
    norms = squared_norms(task.columns)
    row_norms = norms if task.own else squared_norms(task.rows)
    # float16 has not the range of P, so that its second product is a float32 one
    p_dtype = torch.bfloat16 if task.rows.dtype == torch.bfloat16 else torch.float32
    values = task.columns if p_dtype == task.columns.dtype else task.columns.float()
    first = 0
    with full_precision_products():
        for (start, stop, wanted), count in zip(panels, blocks):
            gram = _product(task.rows[start:stop], task.columns.T)
            p = gram if p_dtype == torch.float32 else torch.empty_like(gram, dtype=p_dtype)
            p_sums = gram.new_empty(stop - start)
            _epilogue[(count,)](
                gram,
                p,
                p_sums,
                row_norms,
                norms,
                task.row_weight,
                task.column_weight,
                task.scale,
                task.kernel.bandwidths[0],
                task.self_column,
                out,
                partial,
                float(task.kernel.alpha),
                start,
                stop,
                task.rows_x,
                m,
                task.columns_x,
                m,
                task.classes,
                first,
                BLOCK_I=block_rows,
                BLOCK_J=block_columns,
                PAD=task.pad,
                **task.family(),
                SELF=task.itself,
                GRAD=wanted,
                SUMS=partial is not None,
                PRODUCT=product,
                num_warps=warps,
            )
            first += count
            del gram  # before the next one is made
            if wanted:
                back = _product(p, values).sub_(p_sums[:, None] * task.rows[start:stop])
                torch.mul(back, 4, out=grad[start:stop])
            elif grad is not None:
                grad[start:stop].zero_()
            del p
    return partial, grad, out


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b with float32 sums and result, also of half-precision factors."""
    if a.dtype == torch.float32:
        return a @ b
    if a.is_cuda:
        return torch.mm(a, b, out_dtype=torch.float32)
    return a.float() @ b.float()
