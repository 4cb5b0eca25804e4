"""What the Triton kernels share: the kernel families on a tile, weights of one or several classes, sums of a row block.

Weights of one class are vectors over rows, `PAD = 1`; those of several are tiles (rows, PAD), padded with zeros to a
power of 2 of at least 16, the least that a matrix product takes.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

#: Share of ||u||² + ||v||² below which the float32 expansion of ||u - v||² is taken for rounding by the Laplacian,
#: whose slope has a pole at 0 that would amplify it.
ROUNDING = tl.constexpr(1e-6)
LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def rate_of(sigmas, level):
    """1 / (2 sigma²) of one bandwidth, in float32."""
    sigma = tl.load(sigmas + level).to(tl.float32)
    return 0.5 / (sigma * sigma)


@triton.jit
def rate_sum(sigmas, LEVELS: tl.constexpr):
    """Σ_b 1 / (2 sigma_b²): the largest slope of a Gaussian or rational quadratic sum, at distance 0."""
    total = rate_of(sigmas, 0)
    for level in tl.static_range(1, LEVELS):
        total += rate_of(sigmas, level)
    return total


@triton.jit
def folded_rate(sigmas, LEVELS: tl.constexpr, DOUBLING: tl.constexpr):
    """What squared norms are multiplied by before the loop: the widest Gaussian's rate times log2 e, or nothing."""
    rate = 1.0
    if DOUBLING:
        rate = rate_of(sigmas, LEVELS - 1) * LOG2E
    return rate


@triton.jit
def kernel_and_slope(
    gram,
    norm_i,
    norm_j,
    sigmas,
    alpha,
    folded,
    factor,
    FAMILY: tl.constexpr,
    LEVELS: tl.constexpr,
    DOUBLING: tl.constexpr,
):
    """Σ_b φ on a tile, and its slope times `factor` (a number), from inner products and squared norms; see `Kernel`.

    Norms come multiplied by `folded`, that of `folded_rate`; a column with an infinite norm has a kernel of 0.
    """
    if DOUBLING:
        # The widest Gaussian as a power of 2; the others are its powers.
        exponent = tl.minimum(
            (gram * (2.0 * folded) - norm_i[:, None]) - norm_j[None, :], 0.0, propagate_nan=tl.PropagateNan.ALL
        )
        part = tl.exp2(exponent)
        times = folded * (factor / LOG2E)
        value = part
        slope = part * times
        for _ in tl.static_range(1, LEVELS):
            part = part * part
            times = times * 2.0
            value += part
            slope += part * times
    else:
        norms = norm_i[:, None] + norm_j[None, :]
        squared = tl.maximum(norms - 2.0 * gram, 0.0, propagate_nan=tl.PropagateNan.ALL)
        value = tl.zeros_like(squared)
        slope = tl.zeros_like(squared)
        for level in tl.static_range(LEVELS):
            rate = rate_of(sigmas, level)
            if FAMILY == "gaussian":
                part = tl.exp2(squared * (-rate * LOG2E))
                slope += part * (rate * factor)
            elif FAMILY == "laplacian":
                inverse = 1.0 / tl.load(sigmas + level).to(tl.float32)
                distance = tl.sqrt(squared)
                part = tl.exp2(distance * (-inverse * LOG2E))
                apart = squared > ROUNDING * norms
                slope += tl.where(apart, (0.5 * factor) * inverse * part / tl.where(apart, distance, 1.0), 0.0)
            else:
                logarithm = tl.log2(1.0 + squared * (rate / alpha))
                part = tl.exp2(-alpha * logarithm)
                slope += (rate * factor) * tl.exp2((-1.0 - alpha) * logarithm)
            value += part
    return value, slope


@triton.jit
def load_weights(pointer, index, inside, classes, PAD: tl.constexpr):
    """Weights of the rows `index` as float32; 0 outside."""
    if PAD == 1:
        weights = tl.load(pointer + index, mask=inside, other=0.0)
    else:
        column = tl.arange(0, PAD)
        where = index[:, None].to(tl.int64) * classes + column[None, :]
        weights = tl.load(pointer + where, mask=inside[:, None] & (column[None, :] < classes), other=0.0)
    return weights.to(tl.float32)


@triton.jit
def load_scales(scale, is_x, classes, PAD: tl.constexpr):
    """For a block of rows of one side the scale of its pairs with columns of x and with columns of y."""
    of_x = tl.where(is_x, 0, 2) * classes
    of_y = tl.where(is_x, 2, 1) * classes
    if PAD == 1:
        to_x = tl.load(scale + of_x)
        to_y = tl.load(scale + of_y)
    else:
        column = tl.arange(0, PAD)
        to_x = tl.load(scale + of_x + column, mask=column < classes, other=0.0)
        to_y = tl.load(scale + of_y + column, mask=column < classes, other=0.0)
    return to_x.to(tl.float32), to_y.to(tl.float32)


@triton.jit
def zero_sums(BLOCK: tl.constexpr, PAD: tl.constexpr):
    """Kernel sums of a row block, 0."""
    if PAD == 1:
        zero = tl.zeros((BLOCK,), tl.float32)
    else:
        zero = tl.zeros((BLOCK, PAD), tl.float32)
    return zero


@triton.jit
def weighted(value, weights, PAD: tl.constexpr):
    """Σ_j k_ij t_jc."""
    if PAD == 1:
        total = tl.sum(value * weights[None, :], axis=1)
    else:
        total = tl.dot(value, weights, input_precision="ieee")
    return total


@triton.jit
def outer(left, right, PAD: tl.constexpr):
    """Σ_c a_ic t_jc."""
    if PAD == 1:
        product = left[:, None] * right[None, :]
    else:
        product = tl.dot(left, tl.trans(right), input_precision="ieee")
    return product


@triton.jit
def store_product(
    to_x,
    to_y,
    scale_x,
    scale_y,
    index,
    inside,
    classes,
    product,
    PAD: tl.constexpr,
    PRODUCT: tl.constexpr,
    MORE: tl.constexpr,
):
    """Write (`MORE`: add) per row of a block its weight gradient, or its plain product of kernel and vector."""
    if PRODUCT == "weight_gradient":
        if PAD == 1:
            out = 2.0 * (scale_x * to_x + scale_y * to_y)
        else:
            out = 2.0 * (scale_x[None, :] * to_x + scale_y[None, :] * to_y)
    else:
        out = to_x + to_y
    if PAD == 1:
        where = product + index
        real = inside
    else:
        column = tl.arange(0, PAD)
        where = product + index[:, None].to(tl.int64) * classes + column[None, :]
        real = inside[:, None] & (column[None, :] < classes)
    if MORE:
        out += tl.load(where, mask=real, other=0.0)
    tl.store(where, out, mask=real)


@triton.jit
def store_sums(to_x, to_y, weights, is_x, block, classes, partial, PAD: tl.constexpr):
    """Write the sums of a block of rows of one side: within x, within y, across; of which one is 0."""
    wide = weights.to(tl.float64)
    if PAD == 1:
        column = 0
        real = True
    else:
        column = tl.arange(0, PAD)
        real = column < classes
    of_x = tl.sum(wide * to_x, axis=0)
    of_y = tl.sum(wide * to_y, axis=0)
    first = partial + block.to(tl.int64) * 3 * classes + column
    tl.store(first, tl.where(is_x, of_x, 0.0), mask=real)
    tl.store(first + classes, tl.where(is_x, 0.0, of_y), mask=real)
    tl.store(first + 2 * classes, tl.where(is_x, of_y, of_x), mask=real)


@triton.jit(do_not_specialize=["n"])
def _norms(rows, norms, n, d, BLOCK: tl.constexpr, CHUNK: tl.constexpr):
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = index < n
    total = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, d, CHUNK):
        dim = start + tl.arange(0, CHUNK)
        where = index[:, None].to(tl.int64) * d + dim[None, :]
        part = tl.load(rows + where, mask=inside[:, None] & (dim[None, :] < d), other=0.0).to(tl.float32)
        total += tl.sum(part * part, axis=1)
    tl.store(norms + index, total, mask=inside)


def squared_norms(rows):
    """||z_i||² in float32, (n,), of the values as they are stored."""
    norms = rows.new_empty(len(rows), dtype=torch.float32)
    if len(rows):
        _norms[(triton.cdiv(len(rows), 16),)](
            rows, norms, *rows.shape, BLOCK=16, CHUNK=128, num_warps=4, enable_fp_fusion=True
        )
    return norms


@triton.jit(do_not_specialize=["m", "columns_x"])
def _tile_norms(
    columns, norms, sigmas, m, columns_x, d,
    BLOCK: tl.constexpr, CHUNK: tl.constexpr, LEVELS: tl.constexpr, DOUBLING: tl.constexpr,
):  # fmt: skip
    step = tl.program_id(0)
    tiles_x = tl.cdiv(columns_x, BLOCK)
    of_x = step < tiles_x
    start = tl.where(of_x, step * BLOCK, columns_x + (step - tiles_x) * BLOCK)
    j = start + tl.arange(0, BLOCK)
    there = j < tl.where(of_x, columns_x, m)
    total = tl.zeros((BLOCK,), tl.float32)
    for begin in range(0, d, CHUNK):
        dim = begin + tl.arange(0, CHUNK)
        where = j[:, None].to(tl.int64) * d + dim[None, :]
        part = tl.load(columns + where, mask=there[:, None] & (dim[None, :] < d), other=0.0).to(tl.float32)
        total += tl.sum(part * part, axis=1)
    folded = folded_rate(sigmas, LEVELS, DOUBLING)
    tl.store(norms + step * BLOCK + tl.arange(0, BLOCK), tl.where(there, total * folded, float("inf")))


def tile_norms(columns, columns_x, sigmas, block, levels, doubling):
    """Squared norms of columns as `kernel_and_slope` takes them, tile after tile; infinite where there is no column."""
    m, d = columns.shape
    tiles = triton.cdiv(columns_x, block) + triton.cdiv(m - columns_x, block)
    norms = columns.new_empty(tiles * block, dtype=torch.float32)
    if tiles:
        _tile_norms[(tiles,)](
            columns, norms, sigmas, m, columns_x, d,
            BLOCK=block, CHUNK=min(64, triton.next_power_of_2(d)), LEVELS=levels, DOUBLING=doubling,
            num_warps=4, enable_fp_fusion=True,
        )  # fmt: skip
    return norms
