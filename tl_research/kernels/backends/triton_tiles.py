"""Streaming tiles: a program owns a block of rows, walks over the columns, and writes its rows' results once."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

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
from tl_research.kernels.backends.triton_plan import Task, padded, segments, tile


@triton.jit(do_not_specialize=["row_start", "row_stop", "rows_x", "m", "columns_x", "classes", "first_block"])
def _tiles(
    rows,
    columns,
    norms,
    row_weight,
    column_weight,
    scale,
    bandwidths,
    self_column,
    grad,
    product,
    partial,
    alpha,
    row_start,
    row_stop,
    rows_x,
    m,
    columns_x,
    d,
    classes,
    first_block,
    BLOCK_I: tl.constexpr,
    BLOCK_J: tl.constexpr,
    BLOCK_D: tl.constexpr,
    PAD: tl.constexpr,
    FAMILY: tl.constexpr,
    LEVELS: tl.constexpr,
    DOUBLING: tl.constexpr,
    SELF: tl.constexpr,
    GRAD: tl.constexpr,
    SUMS: tl.constexpr,
    PRODUCT: tl.constexpr,
    OWN_NORMS: tl.constexpr,
    WIDEN: tl.constexpr,
):
    block = tl.program_id(0)
    i = row_start + block * BLOCK_I + tl.arange(0, BLOCK_I)
    inside = i < row_stop
    dim = tl.arange(0, BLOCK_D)
    at_i = i[:, None].to(tl.int64) * d + dim[None, :]
    in_rows = inside[:, None] & (dim[None, :] < d)
    z_i = tl.load(rows + at_i, mask=in_rows, other=0.0)
    norm_i = tl.sum(z_i.to(tl.float32) * z_i.to(tl.float32), axis=1)
    if WIDEN:
        z_i = z_i.to(tl.float32)
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
    p_columns = tl.zeros((BLOCK_I, BLOCK_D), tl.float32)

    # no tile holds columns of both sides, so that one scale goes for the whole of it
    tiles_x = tl.cdiv(columns_x, BLOCK_J)
    tiles = tiles_x + tl.cdiv(m - columns_x, BLOCK_J)
    for step in range(0, tiles):
        of_x = step < tiles_x
        start = tl.where(of_x, step * BLOCK_J, columns_x + (step - tiles_x) * BLOCK_J)
        stop = tl.where(of_x, columns_x, m)
        j = start + tl.arange(0, BLOCK_J)
        there = j < stop
        z_j = tl.load(
            columns + j[:, None].to(tl.int64) * d + dim[None, :], mask=there[:, None] & (dim[None, :] < d), other=0.0
        )
        if OWN_NORMS:
            norm_j = tl.sum(z_j.to(tl.float32) * z_j.to(tl.float32), axis=1)
        else:
            norm_j = tl.load(norms + j, mask=there, other=0.0)
        if WIDEN:
            z_j = z_j.to(tl.float32)
        weight_j = load_weights(column_weight, j, there, classes, PAD)
        gram = tl.dot(z_i, tl.trans(z_j), input_precision="ieee")
        value, slope = kernel_and_slope(gram, norm_i, norm_j, bandwidths, alpha, FAMILY, LEVELS, DOUBLING)
        if SELF != "none":
            itself = j[None, :] == self_i[:, None]
            value = tl.where(itself, 0.0, value)
            slope = tl.where(itself, 0.0, slope)
        total = weighted(value, weight_j, PAD)
        kernel_x += tl.where(of_x, total, 0.0)
        kernel_y += tl.where(of_x, 0.0, total)
        if GRAD:
            p = outer(weight_i * tl.where(of_x, scale_x, scale_y), weight_j, PAD) * slope
            if columns.dtype.element_ty == tl.bfloat16:
                p_rounded = p.to(tl.bfloat16)
                # the same rounded P in both terms: equal rows still cancel
                p_sum += tl.sum(p_rounded.to(tl.float32), axis=1)
                p_columns = tl.dot(p_rounded.to(z_j.dtype), z_j, p_columns, input_precision="ieee")
            elif columns.dtype.element_ty == tl.float16:
                # P may lie below the range of float16, while TF32 holds its range and every float16 digit of z
                p_sum += tl.sum(p, axis=1)
                p_columns = tl.dot(p, z_j.to(tl.float32), p_columns, input_precision="tf32")
            else:
                p_sum += tl.sum(p, axis=1)
                p_columns = tl.dot(p, z_j, p_columns, input_precision="ieee")

    if GRAD:
        # read once more: in registers through the loop it would crowd out P z. The policy keeps the two loads apart.
        z_i = tl.load(rows + at_i, mask=in_rows, other=0.0, eviction_policy="evict_first").to(tl.float32)
        tl.store(grad + at_i, -4.0 * (p_sum[:, None] * z_i - p_columns), mask=in_rows)
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


def run(task: Task, gradient: tuple[bool, bool], product: str) -> tuple[torch.Tensor | None, ...]:
    """Return partial sums (blocks, 3, C), dL/d(rows) or None, and what `product` names or None.

    Args:
        task: rows, weights and kernel.
        gradient: whether dL/d(rows) of each side is wanted.
        product: `none`, `weight_gradient` or `plain` (K t, and no sums).
    """
    n, d = task.rows.shape
    m = len(task.columns)
    shape = tile(task)
    parts = segments(task, gradient)
    blocks = [triton.cdiv(stop - start, shape.rows) for start, stop, _ in parts]
    grad = task.rows.new_empty((n, d), dtype=torch.float32) if any(gradient) else None
    out = task.rows.new_empty((n, task.classes), dtype=torch.float32) if product != "none" else None
    partial = None
    if product != "plain":
        partial = task.rows.new_empty((sum(blocks), 3, task.classes), dtype=torch.float64)
    small = max(n, m) <= triton_plan.SMALL
    norms = None if small else squared_norms(task.columns)
    first = 0
    for (start, stop, wanted), count in zip(parts, blocks):
        if grad is not None and not wanted:
            grad[start:stop].zero_()
        _tiles[(count,)](
            task.rows,
            task.columns,
            norms,
            task.row_weight,
            task.column_weight,
            task.scale,
            task.kernel.bandwidths[0],
            task.self_column,
            grad,
            out,
            partial,
            float(task.kernel.alpha),
            start,
            stop,
            task.rows_x,
            m,
            task.columns_x,
            d,
            task.classes,
            first,
            BLOCK_I=shape.rows,
            BLOCK_J=shape.columns,
            BLOCK_D=padded(d),
            PAD=task.pad,
            **task.family(),
            SELF=task.itself,
            GRAD=wanted,
            SUMS=partial is not None,
            PRODUCT=product,
            OWN_NORMS=small,
            # the interpreter holds bfloat16 as integers and multiplies those
            WIDEN=triton.knobs.runtime.interpret and task.rows.dtype == torch.bfloat16,
            num_warps=shape.warps,
            num_stages=shape.stages,
        )
        first += count
    return partial, grad, out
