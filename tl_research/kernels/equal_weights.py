"""The common call in the fewest tensor operations: one layer, equal weights, one exponential, rows on a CPU.

With equal weights the coefficient of a pair is one number per block (x-x, x-y, y-y), so no weight is multiplied into
rows or tiles. What `tiled` does for any weights is done here for these alone, with the same tiles and buffers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.kernels.backends import tiled
from tl_research.kernels.backends.tile_layer import kept_buffer
from tl_research.kernels.full_precision import full_precision_products
from tl_research.kernels.kernel import Kernel
from tl_research.kernels.ops import once
from tl_research.kernels.rows import pooled

#: Numbers of a block by the sides of its rows and of its columns: x-x, x-y, y-y.
Blocks = tuple[float, float, float]


def serves(x: list[Tensor], kernel: Kernel, backend: str) -> bool:
    """Whether `equal_weights_sum` computes this call; under `torch.compile` the operator of `ops` does."""
    return (
        len(x) == 1
        and x[0].device.type == "cpu"
        and backend in ("auto", "tiled")
        and kernel.is_one_exponential(0)
        and not torch.compiler.is_compiling()
    )


def equal_weights_sum(x: Tensor, y: Tensor, kernel: Kernel, scale: Blocks, detach: str | None) -> Tensor:
    """L = Σ_{i != j} scale[block(i, j)] · k(z_i, z_j) over ordered pairs of the rows z = [x; y], with its gradient.

    Args:
        x: (n, d) float.
        y: (m, d) float.
        kernel: one layer whose Gaussians are powers of one exponential.
        scale: of pairs within x, across (both orders), within y.
        detach: `x` or `y`: no gradient for this side.

    Returns:
        Scalar float64, differentiable once.
    """
    x, y = x.detach() if detach == "x" else x, y.detach() if detach == "y" else y
    wanted = tuple(torch.is_grad_enabled() and side.requires_grad for side in (x, y))
    return _EqualWeights.apply(x, y, kernel, scale, wanted)


class _EqualWeights(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, y, kernel, scale, wanted):
        with torch.autocast("cpu", enabled=False), full_precision_products():
            rows = pooled(x, y, half=False)
            gamma = float(0.5 / kernel.bandwidths[0][-1].square())
            levels = kernel.bandwidths[0].numel()
            compute = _whole if len(tiled.tiles_of(rows, len(x))) == 1 else _tiled
            value, grad = compute(rows, len(x), gamma, levels, scale, wanted)
        ctx.sides = len(x), x.dtype, y.dtype
        if grad is not None:
            ctx.save_for_backward(grad)
        return x.new_tensor(value, dtype=torch.float64)

    @staticmethod
    def backward(ctx, upstream):
        (grad,) = ctx.saved_tensors
        n, x_dtype, y_dtype = ctx.sides
        grad = upstream.to(grad.dtype) * grad
        x_grad = once(grad[:n].to(x_dtype)) if ctx.needs_input_grad[0] else None
        y_grad = once(grad[n:].to(y_dtype)) if ctx.needs_input_grad[1] else None
        return x_grad, y_grad, None, None, None


def _whole(
    z: Tensor, n: int, gamma: float, levels: int, scale: Blocks, wanted: tuple[bool, bool]
) -> tuple[float, Tensor | None]:
    """All pairs as one tile: of so few rows a call of an operation costs more than its work."""
    scaled = z * gamma
    norms = torch.linalg.vecdot(scaled, z)
    value = torch.addmm(norms, scaled, z.T, beta=-1, alpha=2).sub_(norms[:, None]).exp_()
    value.fill_diagonal_(0)
    slope = _sum_levels(value, torch.empty_like(value), torch.empty_like(value) if any(wanted) else None, levels)
    of_x, of_y = value[:n], value[n:]
    sums = of_x[:, :n].sum(), of_x[:, n:].sum(), of_y[:, n:].sum()
    total = _total(scale, (sums[0].item(), 2 * sums[1].item(), sums[2].item()))
    if not any(wanted):
        return total, None
    for rows, left, right in ((slope[:n], scale[0], scale[1]), (slope[n:], scale[1], scale[2])):
        rows[:, :n].mul_(left)
        rows[:, n:].mul_(right)
    return total, torch.addmm(z * slope.sum(dim=1, keepdim=True), slope, z, beta=-1).mul_(4 * gamma)


def _tiled(
    z: Tensor, n: int, gamma: float, levels: int, scale: Blocks, wanted: tuple[bool, bool]
) -> tuple[float, Tensor | None]:
    """Tile after tile, a symmetric pair of tiles once."""
    tiles = [(tile, int(tile.start >= n)) for tile in tiled.tiles_of(z, n)]
    largest = max(tile.stop - tile.start for tile, _ in tiles) ** 2
    buffers = [kept_buffer(z, largest, (0, number)) for number in range(3)]
    norms = torch.linalg.vecdot(z, z).mul_(-gamma)
    sums = [0.0, 0.0, 0.0]
    grad = torch.zeros_like(z) if any(wanted) else None
    pulls = z.new_zeros(len(z))  # Σ_j of what multiplies z_i - z_j
    for index, (i, side_i) in enumerate(tiles):
        rows, row_norms = z[i], norms[i, None]
        left = rows * (2 * gamma)
        for j, side_j in tiles[index:]:
            columns, block, mirrored = z[j], side_i + side_j, i != j
            pull_i, pull_j = wanted[side_i], mirrored and wanted[side_j]
            shape = len(rows), len(columns)
            value, power, slope = (buffer[: shape[0] * shape[1]].view(shape) for buffer in buffers)
            torch.add(row_norms, norms[j], out=value)
            value.addmm_(left, columns.T).exp_()
            if not mirrored:
                value.fill_diagonal_(0)
            slope = _sum_levels(value, power, slope if pull_i or pull_j else None, levels)
            # Rows in float32, and their sums in float64: a sum of a whole tile would cost a digit.
            sums[block] += value.sum(dim=1).sum(dtype=torch.float64).item() * (1 + mirrored)
            if pull_i:
                grad[i].addmm_(slope, columns, alpha=scale[block])
                pulls[i].add_(slope.sum(dim=1), alpha=scale[block])
            if pull_j:
                grad[j].addmm_(slope.T, rows, alpha=scale[block])
                pulls[j].add_(slope.sum(dim=0), alpha=scale[block])
    if grad is not None:
        grad.addcmul_(z, pulls[:, None], value=-1).mul_(4 * gamma)
    return _total(scale, sums), grad


def _sum_levels(value: Tensor, power: Tensor, slope: Tensor | None, levels: int) -> Tensor | None:
    """Make E + E² + E⁴ + ... of E in place; return E + 2 E² + 4 E⁴ + ... in `slope`, if given."""
    if slope is None:
        for level in range(1, levels):
            torch.square(value if level == 1 else power, out=power)
            value.add_(power)
        return None
    if levels == 1:
        return slope.copy_(value)
    torch.mul(value, value, out=power)
    torch.add(value, power, alpha=2, out=slope)
    value.add_(power)
    for level in range(2, levels):
        torch.mul(power, power, out=power)
        slope.add_(power, alpha=2**level)
        value.add_(power)
    return slope


def _total(scale: Blocks, sums) -> float:
    return sum(factor * part for factor, part in zip(scale, sums))
