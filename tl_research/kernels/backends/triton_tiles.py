"""Streaming tiles: a program owns a block of rows of one side, walks over the columns, and writes its results once."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from tl_research.kernels.backends import triton_plan
from tl_research.kernels.backends.triton_forms import (
    folded_rate,
    kernel_and_slope,
    load_scales,
    load_weights,
    outer,
    rate_sum,
    store_product,
    store_sums,
    tile_norms,
    weighted,
    zero_sums,
)
from tl_research.kernels.backends.triton_plan import Task, blocks_of_sides, padded, segments, splits, tile

_SIZES = [
    *("equal_x", "equal_y", "equal_across", "row_start", "row_stop", "rows_x", "m", "columns_x"),
    *("classes", "first_block", "all_blocks"),
]


@triton.jit
def _tile(
    kernel_x, kernel_y, p_sum, p_columns, step, z_i, norm_i, i, self_i, weight_i, scale_x, scale_y, unit, most,
    columns, norms, column_weight, sigmas, alpha, folded, m, columns_x, tiles_x, d, classes,
    BLOCK_J: tl.constexpr, BLOCK_D: tl.constexpr, PAD: tl.constexpr, FAMILY: tl.constexpr, LEVELS: tl.constexpr,
    DOUBLING: tl.constexpr, EQUAL: tl.constexpr, SELF: tl.constexpr, GRAD: tl.constexpr, OWN_NORMS: tl.constexpr,
    WIDEN: tl.constexpr,
):  # fmt: skip
    """Add a tile of columns to the kernel sums of a block of rows, to P 1 and to P z."""
    dim = tl.arange(0, BLOCK_D)
    of_x = step < tiles_x
    start = tl.where(of_x, step * BLOCK_J, columns_x + (step - tiles_x) * BLOCK_J)
    stop = tl.where(of_x, columns_x, m)
    column = tl.arange(0, BLOCK_J)
    there = column < stop - start
    j = start + column
    # 64-bit numbers only where the tile begins
    within = column[:, None] * d + dim[None, :]
    z_j = tl.load(columns + start.to(tl.int64) * d + within, mask=there[:, None] & (dim[None, :] < d), other=0.0)
    if OWN_NORMS:
        norm_j = tl.sum(z_j.to(tl.float32) * z_j.to(tl.float32), axis=1)
        norm_j = tl.where(there, norm_j * folded, float("inf"))  # a kernel of 0 with what is no column
    else:
        norm_j = tl.load(norms + step * BLOCK_J + tl.arange(0, BLOCK_J))
    if WIDEN:
        z_j = z_j.to(tl.float32)
    gram = tl.dot(z_i, tl.trans(z_j), input_precision="ieee")
    if PAD == 1:
        factor = tl.where(of_x, scale_x, scale_y)
    else:
        factor = 1.0
    value, slope = kernel_and_slope(
        gram, norm_i, norm_j, sigmas, alpha, folded, factor / unit, FAMILY, LEVELS, DOUBLING
    )
    if SELF != "none":
        itself = j[None, :] == self_i[:, None]
        value = tl.where(itself, 0.0, value)
        slope = tl.where(itself, 0.0, slope)
    if EQUAL:
        kernel_x += tl.sum(value, axis=1) * factor
    else:
        weight_j = load_weights(column_weight, j, there, classes, PAD)
        total = weighted(value, weight_j, PAD)
        kernel_x += tl.where(of_x, total, 0.0)
        kernel_y += tl.where(of_x, 0.0, total)
    if GRAD:
        if EQUAL:
            p = slope
        elif PAD == 1:
            if columns.dtype.element_ty == tl.float16:
                weight_j = weight_j / most
            p = slope * weight_j[None, :]
        else:
            side = tl.where(of_x, scale_x, scale_y)
            p = outer(weight_i * side[None, :], weight_j, PAD) * slope
        # the same rounded P in both terms: equal rows still cancel
        if columns.dtype.element_ty == tl.bfloat16:
            p_rounded = p.to(tl.bfloat16)
            p_rounded = p_rounded.to(z_j.dtype)
            p_sum = tl.dot(p_rounded, tl.full((BLOCK_J, 16), 1.0, z_j.dtype), p_sum, input_precision="ieee")
            p_columns = tl.dot(p_rounded, z_j, p_columns, input_precision="ieee")
        elif columns.dtype.element_ty == tl.float16 and PAD == 1:
            p_rounded = p.to(tl.float16)
            p_sum = tl.dot(p_rounded, tl.full((BLOCK_J, 16), 1.0, tl.float16), p_sum)
            p_columns = tl.dot(p_rounded, z_j, p_columns)
        elif columns.dtype.element_ty == tl.float16:
            # P of several classes may lie below the range of float16
            p_sum += tl.sum(p, axis=1)[:, None]
            p_columns = tl.dot(p, z_j.to(tl.float32), p_columns, input_precision="ieee")
        else:
            p_sum += tl.sum(p, axis=1)[:, None]
            p_columns = tl.dot(p, z_j, p_columns, input_precision="ieee")
    return kernel_x, kernel_y, p_sum, p_columns


@triton.jit(do_not_specialize=_SIZES)
def _tiles(
    rows,
    columns,
    norms,
    row_weight,
    column_weight,
    scale,
    largest_weight,
    sigmas,
    self_column,
    grad,
    product,
    partial,
    alpha,
    equal_x,
    equal_y,
    equal_across,
    row_start,
    row_stop,
    rows_x,
    m,
    columns_x,
    d,
    width,
    grad_share,
    classes,
    first_block,
    all_blocks,
    BLOCK_I: tl.constexpr,
    BLOCK_J: tl.constexpr,
    BLOCK_D: tl.constexpr,
    PAD: tl.constexpr,
    FAMILY: tl.constexpr,
    LEVELS: tl.constexpr,
    DOUBLING: tl.constexpr,
    EQUAL: tl.constexpr,
    SELF: tl.constexpr,
    GRAD: tl.constexpr,
    SUMS: tl.constexpr,
    PRODUCT: tl.constexpr,
    OWN_NORMS: tl.constexpr,
    WIDEN: tl.constexpr,
):
    # The block's rows are of one side, so that one scale goes for all of its pairs with a tile of columns.
    block = tl.program_id(0)
    border = tl.minimum(tl.maximum(rows_x, row_start), row_stop)
    blocks_x = tl.cdiv(border - row_start, BLOCK_I)
    is_x = block < blocks_x
    first = tl.where(is_x, row_start + block * BLOCK_I, border + (block - blocks_x) * BLOCK_I)
    last = tl.where(is_x, border, row_stop)
    i = first + tl.arange(0, BLOCK_I)
    inside = i < last
    dim = tl.arange(0, BLOCK_D)
    at_i = i[:, None].to(tl.int64) * d + dim[None, :]
    in_rows = inside[:, None] & (dim[None, :] < d)
    z_i = tl.load(rows + at_i, mask=in_rows, other=0.0)
    folded = folded_rate(sigmas, LEVELS, DOUBLING)
    norm_i = tl.sum(z_i.to(tl.float32) * z_i.to(tl.float32), axis=1) * folded
    if WIDEN:
        z_i = z_i.to(tl.float32)
    if EQUAL:
        scale_x = tl.where(is_x, equal_x, equal_across)
        scale_y = tl.where(is_x, equal_across, equal_y)
        weight_i = 1.0
    else:
        scale_x, scale_y = load_scales(scale, is_x, classes, PAD)
        weight_i = load_weights(row_weight, i, inside, classes, PAD)
    # float16 holds P as a share of the largest that it can be
    IN_SHARES: tl.constexpr = GRAD and PAD == 1 and columns.dtype.element_ty == tl.float16
    unit = 1.0
    most = 1.0
    if IN_SHARES:
        unit = tl.maximum(tl.abs(scale_x), tl.abs(scale_y)) * rate_sum(sigmas, LEVELS)
        unit = tl.where(unit == 0.0, 1.0, unit)
        if not EQUAL:
            most = tl.load(largest_weight)
            most = tl.where(most == 0.0, 1.0, most)
    self_i = i
    if SELF == "given":
        self_i = tl.load(self_column + i, mask=inside, other=-1).to(tl.int32)
    kernel_x = zero_sums(BLOCK_I, PAD)
    kernel_y = zero_sums(BLOCK_I, PAD)
    p_sum = tl.zeros((BLOCK_I, 16), tl.float32)
    p_columns = tl.zeros((BLOCK_I, BLOCK_D), tl.float32)

    # no tile holds columns of both sides
    tiles_x = tl.cdiv(columns_x, BLOCK_J)
    tiles = tiles_x + tl.cdiv(m - columns_x, BLOCK_J)
    share = tl.program_id(1)
    shares = tl.num_programs(1)
    meets = tiles
    met = 0
    LOOKS: tl.constexpr = "none" if SELF == "own" else SELF
    if SELF == "own":
        # Tiles that meet the diagonal come last, and they alone look for pairs of a row with itself.
        before = tl.where(is_x, 0, tiles_x)
        origin = tl.where(is_x, 0, columns_x)
        meets = before + (first - origin) // BLOCK_J
        met = before + tl.cdiv(tl.minimum(first + BLOCK_I, last) - origin, BLOCK_J) - meets
    apart = tiles - met
    for number in range(share * apart // shares, (share + 1) * apart // shares):
        step = tl.where(number < meets, number, number + met)
        kernel_x, kernel_y, p_sum, p_columns = _tile(
            kernel_x, kernel_y, p_sum, p_columns, step, z_i, norm_i, i, self_i, weight_i, scale_x, scale_y, unit, most,
            columns, norms, column_weight, sigmas, alpha, folded, m, columns_x, tiles_x, d, classes,
            BLOCK_J, BLOCK_D, PAD, FAMILY, LEVELS, DOUBLING, EQUAL, LOOKS, GRAD, OWN_NORMS, WIDEN,
        )  # fmt: skip
    if SELF == "own":
        for step in tl.range(meets + share * met // shares, meets + (share + 1) * met // shares, num_stages=1):
            kernel_x, kernel_y, p_sum, p_columns = _tile(
                kernel_x, kernel_y, p_sum, p_columns, step, z_i, norm_i, i, self_i, weight_i, scale_x, scale_y, unit,
                most, columns, norms, column_weight, sigmas, alpha, folded, m, columns_x, tiles_x, d, classes,
                BLOCK_J, BLOCK_D, PAD, FAMILY, LEVELS, DOUBLING, EQUAL, SELF, GRAD, OWN_NORMS, WIDEN,
            )  # fmt: skip

    if GRAD:
        # read once more: in registers through the loop it would crowd out P z. The policy keeps the two loads apart.
        z_i = tl.load(rows + at_i, mask=in_rows, other=0.0, eviction_policy="evict_first").to(tl.float32)
        pull = -4.0 * unit * ((tl.sum(p_sum, axis=1) * 0.0625)[:, None] * z_i - p_columns)
        if PAD == 1 and not EQUAL:
            if IN_SHARES:
                pull = pull * most
            pull = pull * weight_i[:, None]
        at_i = i[:, None].to(tl.int64) * width + dim[None, :]
        in_rows = inside[:, None] & (dim[None, :] < width)
        tl.store(grad + share.to(tl.int64) * grad_share + at_i, pull, mask=in_rows)
    place = share * all_blocks + first_block + block
    if PRODUCT != "none":
        store_product(kernel_x, kernel_y, scale_x, scale_y, i, inside, classes, product, PAD, PRODUCT, False)
    if SUMS:
        if EQUAL:
            total = tl.sum(tl.where(inside, kernel_x, 0.0).to(tl.float64), axis=0)
            tl.store(partial + place, total)
        else:
            store_sums(kernel_x, kernel_y, weight_i, is_x, place, classes, partial, PAD)


def run(task: Task, gradient: tuple[bool, bool], product: str) -> tuple:
    """Return partial sums, dL/d(rows) or None, and what `product` names or None.

    Args:
        task: rows, weights and kernel.
        gradient: whether dL/d(rows) of each side is wanted.
        product: `none`, `weight_gradient` or `plain` (K t, and no sums).

    Returns:
        Partial sums (blocks, 3, C), of a task without weights (blocks,) with its scale in them; for each layer its
        gradient (n, d); product (n, C).
    """
    rows, columns = task.rows[0], task.columns[0]
    n, d, width = *rows.shape, task.widths[0]
    shape = tile(task)
    parts = [
        (start, stop, wanted, blocks_of_sides(task, start, stop, shape.rows))
        for start, stop, wanted in segments(task, gradient)
    ]
    all_blocks = sum(blocks for *_, blocks in parts)
    shares = splits(task, all_blocks) if product == "none" else 1
    grad = None
    if any(gradient):
        grad = rows.new_empty((shares, n, width) if shares > 1 else (n, width), dtype=torch.float32)
    out = rows.new_empty((n, task.classes), dtype=torch.float32) if product != "none" else None
    partial = None
    if product != "plain":
        size = (shares * all_blocks,) if task.equal else (shares * all_blocks, 3, task.classes)
        partial = rows.new_empty(size, dtype=torch.float64)
    small = max(n, task.m) <= triton_plan.SMALL
    largest = None
    if task.dtype == torch.float16 and not task.equal and any(gradient):
        largest = task.column_weight.abs().amax()
    family = task.family()
    levels, doubling, sigmas = family["LEVELS"][0], family["DOUBLING"][0], task.kernel.bandwidths[0]
    norms = None if small else tile_norms(columns, task.columns_x, sigmas, shape.columns, levels, doubling)
    first = 0
    for start, stop, wanted, blocks in parts:
        if grad is not None and not wanted:
            grad[..., start:stop, :].zero_()
        _tiles[(blocks, shares)](
            rows,
            columns,
            norms,
            task.row_weight,
            task.column_weight,
            None if task.equal else task.scale,
            largest,
            sigmas,
            task.self_column,
            grad,
            out,
            partial,
            float(task.kernel.alpha),
            *(task.scale if task.equal else (0.0, 0.0, 0.0)),
            start,
            stop,
            task.rows_x,
            task.m,
            task.columns_x,
            d,
            width,
            n * width,
            task.classes,
            first,
            all_blocks,
            BLOCK_I=shape.rows,
            BLOCK_J=shape.columns,
            BLOCK_D=padded(d),
            PAD=task.pad,
            FAMILY=family["FAMILY"],
            LEVELS=levels,
            DOUBLING=doubling,
            EQUAL=task.equal,
            SELF=task.itself,
            GRAD=wanted,
            SUMS=partial is not None,
            PRODUCT=product,
            OWN_NORMS=small,
            # the interpreter holds bfloat16 as integers and multiplies those
            WIDEN=triton.knobs.runtime.interpret and task.dtype == torch.bfloat16,
            num_warps=shape.warps,
            num_stages=shape.stages,
            enable_fp_fusion=True,
        )
        first += blocks
    if grad is not None and shares > 1:
        grad = grad.sum(dim=0)
    return partial, None if grad is None else [grad], out
