"""Gram panels by the library, with one fused kernel between the two products; memory is one panel, whatever n and m."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from tl_research.kernels.backends.triton_forms import (
    folded_rate,
    kernel_and_slope,
    load_scales,
    load_weights,
    outer,
    rate_sum,
    squared_norms,
    store_product,
    store_sums,
    weighted,
    zero_sums,
)
from tl_research.kernels.backends.triton_plan import Task, blocks_of_sides, segments
from tl_research.kernels.backends.triton_products import Products, SplitProducts, splits_float32
from tl_research.kernels.full_precision import full_precision_products

#: Rows, columns and warps of a block of the kernel between the products: for one class, for several.
BLOCK, CLASSES_BLOCK = (8, 128, 4), (16, 32, 4)
#: Rows and columns of a panel: tall, so that its product with the rows has output enough to fill a device, and small
#: enough, 32 MB in float32, to stay in the cache of a data-centre card between its four passes.
PANEL_ROWS, PANEL_COLUMNS = 8192, 1024


@triton.jit(do_not_specialize=["row_start", "row_stop", "rows_x", "n", "classes", "first_block", "column_start"])
def _epilogue(
    gram,
    p_panel,
    p_low,
    p_sums,
    row_factor,
    row_norms,
    norms,
    row_weight,
    column_weight,
    scale,
    largest_weight,
    sigmas,
    self_column,
    product,
    partial,
    alpha,
    equal_x,
    equal_y,
    equal_across,
    row_start,
    row_stop,
    rows_x,
    n,
    column_start,
    column_stop,
    columns_x,
    m,
    pitch,
    layer_pitch,
    classes,
    first_block,
    BLOCK_I: tl.constexpr,
    BLOCK_J: tl.constexpr,
    PAD: tl.constexpr,
    FAMILY: tl.constexpr,
    LEVELS: tl.constexpr,
    BEFORE: tl.constexpr,
    DOUBLING: tl.constexpr,
    OWN: tl.constexpr,
    EQUAL: tl.constexpr,
    SELF: tl.constexpr,
    GRAD: tl.constexpr,
    SUMS: tl.constexpr,
    PRODUCT: tl.constexpr,
    MORE: tl.constexpr,
    SPLIT: tl.constexpr,
):
    """P of the layer `OWN` from the Gram panels of all, with its row sums; `SPLIT`: in two bfloat16 panels.

    `MORE`: the columns before have left their row sums and products, to which those of this panel are added.
    """
    block = tl.program_id(0)
    border = tl.minimum(tl.maximum(rows_x, row_start), row_stop)
    blocks_x = tl.cdiv(border - row_start, BLOCK_I)
    is_x = block < blocks_x
    first = tl.where(is_x, row_start + block * BLOCK_I, border + (block - blocks_x) * BLOCK_I)
    last = tl.where(is_x, border, row_stop)
    i = first + tl.arange(0, BLOCK_I)
    inside = i < last
    at_i = (i - row_start)[:, None].to(tl.int64) * pitch
    if EQUAL:
        scale_x = tl.where(is_x, equal_x, equal_across)
        scale_y = tl.where(is_x, equal_across, equal_y)
    else:
        scale_x, scale_y = load_scales(scale, is_x, classes, PAD)
        weight_i = load_weights(row_weight, i, inside, classes, PAD)
    # float16 holds P as a share of the largest that it can be
    IN_SHARES: tl.constexpr = GRAD and p_panel.dtype.element_ty == tl.float16
    unit = 1.0
    if IN_SHARES:
        unit = tl.maximum(tl.abs(scale_x), tl.abs(scale_y)) * rate_sum(sigmas + BEFORE[OWN], LEVELS[OWN])
        unit = tl.where(unit == 0.0, 1.0, unit)
        most = 1.0
        if not EQUAL:
            most = tl.load(largest_weight)
            most = tl.where(most == 0.0, 1.0, most)
    if SELF == "given":
        self_i = tl.load(self_column + i, mask=inside, other=-1).to(tl.int32)
    kernel_x = zero_sums(BLOCK_I, PAD)
    kernel_y = zero_sums(BLOCK_I, PAD)
    p_sum = tl.zeros((BLOCK_I,), tl.float32)

    # no tile holds columns of both sides
    between = tl.minimum(tl.maximum(columns_x, column_start), column_stop)
    tiles_x = tl.cdiv(between - column_start, BLOCK_J)
    tiles = tiles_x + tl.cdiv(column_stop - between, BLOCK_J)
    for step in range(0, tiles):
        of_x = step < tiles_x
        start = tl.where(of_x, column_start + step * BLOCK_J, between + (step - tiles_x) * BLOCK_J)
        stop = tl.where(of_x, between, column_stop)
        j = start + tl.arange(0, BLOCK_J)
        there = j < stop
        where = at_i + (j - column_start)[None, :]
        seen = inside[:, None] & there[None, :]
        if PAD == 1:
            factor = tl.where(of_x, scale_x, scale_y) / unit
        else:
            factor = 1.0
        value = tl.full((BLOCK_I, BLOCK_J), 1.0, tl.float32)
        slope = value
        for layer in tl.static_range(len(LEVELS)):
            own_sigmas = sigmas + BEFORE[layer]
            folded = folded_rate(own_sigmas, LEVELS[layer], DOUBLING[layer])
            norm_i = tl.load(row_norms + layer * n + i, mask=inside, other=0.0) * folded
            norm_j = tl.load(norms + layer * m + j, mask=there, other=0.0) * folded
            norm_j = tl.where(there, norm_j, float("inf"))  # a kernel of 0 with what is no column
            part, part_slope = kernel_and_slope(
                tl.load(gram + layer * layer_pitch + where, mask=seen, other=0.0),
                norm_i,
                norm_j,
                own_sigmas,
                alpha,
                folded,
                factor,
                FAMILY,
                LEVELS[layer],
                DOUBLING[layer],
            )
            value *= part
            if layer == OWN:
                slope *= part_slope
            else:
                slope *= part
        if SELF == "own":
            if (start < last) & (start + BLOCK_J > first):  # the tile meets the diagonal
                itself = j[None, :] == i[:, None]
                value = tl.where(itself, 0.0, value)
                slope = tl.where(itself, 0.0, slope)
        elif SELF == "given":
            itself = j[None, :] == self_i[:, None]
            value = tl.where(itself, 0.0, value)
            slope = tl.where(itself, 0.0, slope)
        if EQUAL:
            kernel_x += tl.sum(value, axis=1) * tl.where(of_x, scale_x, scale_y)
        else:
            weight_j = load_weights(column_weight, j, there, classes, PAD)
            if SUMS or PRODUCT != "none":
                total = weighted(value, weight_j, PAD)
                kernel_x += tl.where(of_x, total, 0.0)
                kernel_y += tl.where(of_x, 0.0, total)
        if GRAD:
            if EQUAL:
                p = slope
            elif PAD == 1:
                if IN_SHARES:
                    weight_j = weight_j / most
                p = slope * weight_j[None, :]
            else:
                side = tl.where(of_x, scale_x, scale_y)
                p = outer(weight_i * side[None, :], weight_j, PAD) * slope
            rounded = p.to(p_panel.dtype.element_ty)
            used = rounded.to(tl.float32)
            tl.store(p_panel + where, rounded, mask=seen)
            if SPLIT:
                low = (p - used).to(tl.bfloat16)
                used += low.to(tl.float32)
                tl.store(p_low + where, low, mask=seen)
            # the same rounded P in both terms: equal rows still cancel
            p_sum += tl.sum(used, axis=1)

    if GRAD:
        if MORE:
            p_sum += tl.load(p_sums + i, mask=inside, other=0.0)
        tl.store(p_sums + i, p_sum, mask=inside)
        if PAD == 1:
            whole = tl.full((BLOCK_I,), -4.0, tl.float32)
            if not EQUAL:
                whole = whole * weight_i
            if IN_SHARES:
                whole = whole * unit * most
            tl.store(row_factor + i, whole, mask=inside)
    if PRODUCT != "none":
        store_product(kernel_x, kernel_y, scale_x, scale_y, i, inside, classes, product, PAD, PRODUCT, MORE)
    if SUMS:
        place = first_block + block
        if EQUAL:
            tl.store(partial + place, tl.sum(tl.where(inside, kernel_x, 0.0).to(tl.float64), axis=0))
        else:
            store_sums(kernel_x, kernel_y, weight_i, is_x, place, classes, partial, PAD)


def run(task: Task, gradient: tuple[bool, bool], product: str) -> tuple:
    """Same as `triton_tiles.run`, for any d and number of layers."""
    rows, columns = task.rows, task.columns
    new = rows[0].new_empty
    block = BLOCK if task.pad == 1 else CLASSES_BLOCK
    panels = _panels(task, gradient, block[0])
    blocks = [blocks_of_sides(task, start, stop, block[0]) for start, stop, *_ in panels]
    grad = None
    if any(gradient):
        grad = [rows[0].new_zeros((task.n, width), dtype=torch.float32) for width in task.widths]
    out = new((task.n, task.classes), dtype=torch.float32) if product != "none" else None
    partial = None
    if product != "plain":
        size = (sum(blocks),) if task.equal else (sum(blocks), 3, task.classes)
        partial = new(size, dtype=torch.float64)
    norms = torch.stack([squared_norms(part) for part in columns]) if len(columns) > 1 else squared_norms(columns[0])
    row_norms = norms
    if not task.own:
        row_norms = torch.stack([squared_norms(part) for part in rows])
    sigmas = task.kernel.bandwidths[0] if len(rows) == 1 else torch.cat(task.kernel.bandwidths)
    # P of several classes may lie below the range of float16, so that its product is a float32 one
    p_dtype = torch.float32 if task.dtype == torch.float16 and task.pad > 1 else task.dtype
    # a product of layers adds up their errors, past the bar of float32
    split = len(rows) == 1 and splits_float32(rows[0], columns[0])
    products = [SplitProducts(a, b) if split else Products(a, b, p_dtype) for a, b in zip(rows, columns)]
    largest = None
    if p_dtype == torch.float16 and not task.equal and any(gradient):
        largest = task.column_weight.abs().amax()
    p_sums, row_factor = new((len(rows), task.n), dtype=torch.float32), new(task.n, dtype=torch.float32)
    family = task.family()
    first = 0
    with full_precision_products():
        for (start, stop, column_start, column_stop, wanted), count in zip(panels, blocks):
            wide = column_stop - column_start
            gram = new((len(rows), stop - start, wide), dtype=torch.float32)
            for layer, product_of in enumerate(products):
                product_of.gram(slice(start, stop), slice(column_start, column_stop), gram[layer])
            for own in range(len(rows) if wanted else 1):
                p, low = products[own].panels(gram[0], in_place=len(rows) == 1)
                _epilogue[(count,)](
                    gram,
                    p,
                    low,
                    p_sums[own],
                    row_factor,
                    row_norms,
                    norms,
                    task.row_weight,
                    task.column_weight,
                    None if task.equal else task.scale,
                    largest,
                    sigmas,
                    task.self_column,
                    out,
                    partial,
                    float(task.kernel.alpha),
                    *(task.scale if task.equal else (0.0, 0.0, 0.0)),
                    start,
                    stop,
                    task.rows_x,
                    task.n,
                    column_start,
                    column_stop,
                    task.columns_x,
                    task.m,
                    wide,
                    (stop - start) * wide,
                    task.classes,
                    first,
                    BLOCK_I=block[0],
                    BLOCK_J=block[1],
                    PAD=task.pad,
                    **family,
                    BEFORE=tuple(sum(family["LEVELS"][:layer]) for layer in range(len(rows))),
                    OWN=own,
                    EQUAL=task.equal,
                    SELF=task.itself,
                    GRAD=wanted,
                    SUMS=partial is not None and own == 0,
                    PRODUCT=product if own == 0 else "none",
                    MORE=column_start > 0,
                    SPLIT=low is not None,
                    num_warps=block[2],
                    num_stages=1,
                    enable_fp_fusion=True,
                )
                if wanted:
                    products[own].pull(grad[own][start:stop], p, low, slice(column_start, column_stop))
            first += count
            del gram, p, low  # before the next ones are made
    for own, part in enumerate(grad or []):
        for start, stop, wanted in segments(task, gradient):
            if wanted:
                own_rows = rows[own][start:stop, : task.widths[own]]
                _finish(part[start:stop], own_rows, p_sums[own, start:stop], row_factor[start:stop], task)
    return partial, grad, out


def _panels(task: Task, gradient: tuple[bool, bool], block_rows: int) -> list[tuple[int, int, int, int, bool]]:
    """First and last row and column of each panel, and whether its rows want a gradient; columns run fastest."""
    return [
        (start, min(start + PANEL_ROWS, stop), column, min(column + PANEL_COLUMNS, task.m), wanted)
        for first, stop, wanted in segments(task, gradient)
        for start in range(first, stop, PANEL_ROWS)
        for column in range(0, max(task.m, 1), PANEL_COLUMNS)
    ]


def _finish(grad: Tensor, rows: Tensor, p_sums: Tensor, factor: Tensor, task: Task) -> None:
    """Make -4 w_i ((P 1)_i z_i - (P z)_i) of -P z."""
    grad.addcmul_(rows, p_sums[:, None])
    grad.mul_(factor[:, None] if task.pad == 1 else -4)
