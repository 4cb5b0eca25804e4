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


@triton.jit
def kernel_and_slope(
    gram,
    norm_i,
    norm_j,
    bandwidths,
    alpha,
    FAMILY: tl.constexpr,
    LEVELS: tl.constexpr,
    DOUBLING: tl.constexpr,
):
    """Σ_b φ and its slope on a tile, from inner products and squared norms; see `Kernel`."""
    norms = norm_i[:, None] + norm_j[None, :]
    squared = norms - 2.0 * gram
    squared = tl.where(squared < 0, 0.0, squared)  # a maximum would turn NaN into 0
    if DOUBLING:
        rate = _rate(bandwidths + (LEVELS - 1))
        part = tl.exp(-squared * rate)
        value = part
        slope = part * rate
        for _ in tl.static_range(1, LEVELS):
            part = part * part
            rate = rate * 2.0
            value += part
            slope += part * rate
    else:
        value = tl.zeros_like(squared)
        slope = tl.zeros_like(squared)
        for level in tl.static_range(LEVELS):
            if FAMILY == "gaussian":
                rate = _rate(bandwidths + level)
                part = tl.exp(-squared * rate)
                part_slope = part * rate
            elif FAMILY == "laplacian":
                inverse = (1.0 / tl.load(bandwidths + level)).to(tl.float32)
                distance = tl.sqrt(squared)
                part = tl.exp(-distance * inverse)
                apart = squared > ROUNDING * norms
                part_slope = tl.where(apart, 0.5 * inverse * part / tl.where(apart, distance, 1.0), 0.0)
            else:
                rate = _rate(bandwidths + level)
                base = 1.0 + squared * (rate / alpha)
                part = tl.exp(-alpha * tl.log(base))
                part_slope = rate * part / base
            value += part
            slope += part_slope
    return value, slope


@triton.jit
def _rate(bandwidth):
    """1 / (2 sigma²), in float32."""
    sigma = tl.load(bandwidth)
    return (0.5 / (sigma * sigma)).to(tl.float32)


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
def load_scales(scale, row_is_x, classes, PAD: tl.constexpr):
    """For a block of rows the scale of its pairs with columns of x and with columns of y."""
    if PAD == 1:
        x = tl.load(scale)
        y = tl.load(scale + 1)
        across = tl.load(scale + 2)
        to_x = tl.where(row_is_x, x, across)
        to_y = tl.where(row_is_x, across, y)
    else:
        column = tl.arange(0, PAD)
        x = tl.load(scale + column, mask=column < classes, other=0.0)
        y = tl.load(scale + classes + column, mask=column < classes, other=0.0)
        across = tl.load(scale + 2 * classes + column, mask=column < classes, other=0.0)
        to_x = tl.where(row_is_x[:, None], x[None, :], across[None, :])
        to_y = tl.where(row_is_x[:, None], across[None, :], y[None, :])
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
def store_sums(
    to_x,
    to_y,
    weights,
    scale_x,
    scale_y,
    row_is_x,
    index,
    inside,
    block,
    classes,
    partial,
    product,
    PAD: tl.constexpr,
    SUMS: tl.constexpr,
    PRODUCT: tl.constexpr,
):
    """Write a row block's three sums, and per row its weight gradient or its plain Kernel-vector product."""
    if PRODUCT != "none":
        if PRODUCT == "weight_gradient":
            out = 2.0 * (scale_x * to_x + scale_y * to_y)
        else:
            out = to_x + to_y
        if PAD == 1:
            tl.store(product + index, out, mask=inside)
        else:
            column = tl.arange(0, PAD)
            where = index[:, None].to(tl.int64) * classes + column[None, :]
            tl.store(product + where, out, mask=inside[:, None] & (column[None, :] < classes))
    if SUMS:
        wide = weights.to(tl.float64)
        if PAD == 1:
            is_x = row_is_x
            column = 0
            real = True
        else:
            is_x = row_is_x[:, None]
            column = tl.arange(0, PAD)
            real = column < classes
        within = wide * tl.where(is_x, to_x, to_y)
        across = wide * tl.where(is_x, to_y, to_x)
        first = partial + block.to(tl.int64) * 3 * classes + column
        tl.store(first, tl.sum(tl.where(is_x, within, 0.0), axis=0), mask=real)
        tl.store(first + classes, tl.sum(tl.where(is_x, 0.0, within), axis=0), mask=real)
        tl.store(first + 2 * classes, tl.sum(across, axis=0), mask=real)


@triton.jit
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
        _norms[(triton.cdiv(len(rows), 16),)](rows, norms, *rows.shape, BLOCK=16, CHUNK=128, num_warps=4)
    return norms
