"""Streaming sums in PyTorch alone, one tile of pairs after another, on any device.

Sides and classes are one: with s̃_i = [s_i if i in x else 0, s_i if i in y else 0] (2C numbers per row), the
coefficient of a tile of pairs is a product of rank 2C, (s̃ · scale) t̃ᵀ, wherever the tile lies, and K t̃ holds the sums
of every block and the gradient of the weights. A symmetric pair of tiles is computed once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.kernels.backends.protocol import Sums
from tl_research.kernels.backends.tile_layer import TileLayer
from tl_research.kernels.backends.tile_whole import whole_pair_sums
from tl_research.kernels.full_precision import full_precision_products
from tl_research.kernels.kernel import Kernel
from tl_research.kernels.sides import by_side, finish, sided

HALF = False

# Rows per side of a tile. CPU: three float32 tiles of 512 (1 MB each) stay in the second-level caches of two cores, so
# that the elementwise passes cost little beside the products. CUDA: a launch costs microseconds, so that tiles must be
# large; three of 2,048 (16 MB each) still fit the cache of a data-centre card.
TILE_ROWS = {"cpu": 512, "cuda": 2048}


# So few rows make one tile, and a call of a tensor operation costs more than its work: `tile_whole` has the fewest.
WHOLE_ROWS = 256


@torch.no_grad()
def pair_sums(rows, n_x, weight, scale, kernel: Kernel, *, gradient, weight_gradient) -> Sums:
    """See `Backend.pair_sums`."""
    rows = _ready(rows)
    if len(rows) == 1 and len(rows[0]) <= WHOLE_ROWS and kernel.is_one_exponential(0):
        with full_precision_products():
            return whole_pair_sums(rows[0], n_x, weight, scale, kernel, gradient, weight_gradient)
    return _stream(rows, n_x, rows, n_x, weight, weight, scale, kernel, None, True, gradient, weight_gradient)


@torch.no_grad()
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
    return _stream(
        _ready(rows),
        rows_x,
        _ready(columns),
        columns_x,
        row_weight,
        column_weight,
        scale,
        kernel,
        self_column,
        False,
        gradient,
        weight_gradient,
    )


@torch.no_grad()
def gram_product(rows: list[Tensor], columns: list[Tensor], vectors: Tensor, kernel: Kernel) -> Tensor:
    """See `Backend.gram_product`."""
    rows, columns = _ready(rows), _ready(columns)
    row_tiles, column_tiles = tiles_of(rows[0], 0), tiles_of(columns[0], 0)
    vectors = vectors.to(rows[0].dtype)
    out = rows[0].new_zeros(len(rows[0]), vectors.shape[1])
    if not row_tiles or not column_tiles:
        return out
    layers = _layers(kernel, rows, columns, row_tiles, column_tiles)
    with full_precision_products():
        for i in row_tiles:
            for layer in layers:
                layer.start_rows(i)
            for j in column_tiles:
                out[i].add_(_matrix_product(_product([layer.fill(j, False)[0] for layer in layers]), vectors[j]))
    return out


def _stream(
    rows: list[Tensor],
    rows_x: int,
    columns: list[Tensor],
    columns_x: int,
    row_weight: Tensor,
    column_weight: Tensor,
    scale: Tensor,
    kernel: Kernel,
    self_column: Tensor | None,
    symmetric: bool,
    gradient: tuple[bool, bool],
    weight_gradient: bool,
) -> Sums:
    dtype, n, classes = rows[0].dtype, len(rows[0]), row_weight.shape[1]
    row_tiles, column_tiles = tiles_of(rows[0], rows_x), tiles_of(columns[0], columns_x)
    # With one class the coefficient of a pair is a product of one number per row: s_i waits for the end of the sums,
    # and the other goes into the rows that are summed. With several it has a tile of its own.
    one_sided = len(row_tiles) + len(column_tiles) > 2 or rows_x in (0, n) or columns_x in (0, len(columns[0]))
    left = by_side(row_weight if classes > 1 else torch.ones_like(row_weight), rows_x, scale).to(dtype)
    right = sided(column_weight, columns_x).to(dtype)
    right_scaled = by_side(column_weight, columns_x, scale).to(dtype) if one_sided else None
    weighted = row_weight.new_zeros(n, 2 * classes, dtype=torch.float64)  # K t̃
    grad = [torch.zeros_like(part) for part in rows] if any(gradient) else []
    pulls = [part.new_zeros(n, dtype=torch.float64) for part in grad]  # Σ_j of what multiplies z_i - z_j
    layers = _layers(kernel, rows, columns, row_tiles, column_tiles) if row_tiles and column_tiles else []

    def wanted(tile: slice) -> bool:
        return (gradient[0] and tile.start < rows_x) or (gradient[1] and tile.stop > rows_x)

    def exclude(tile: Tensor, i: slice, j: slice) -> None:
        if symmetric and i == j:
            tile.diagonal().zero_()
        elif self_column is not None:
            at = self_column[i, None] - j.start
            inside = (at >= 0) & (at < tile.shape[1])
            at = at.clamp(0, tile.shape[1] - 1)
            tile.scatter_(1, at, torch.where(inside, 0, tile.gather(1, at)))

    def add_weighted(i: slice, k: Tensor, j: slice, times: int) -> None:
        used = slice(None if j.start < columns_x else classes, None if j.stop > columns_x else classes)
        weighted[i, used].add_(_matrix_product(k, right[j, used]), alpha=times)

    def pull(own: int, i: slice, p: Tensor, j: slice, other_rows: Tensor, numbers: Tensor | None) -> None:
        if numbers is None:
            grad[own][i].addmm_(p, other_rows[j])
            pulls[own][i].add_(p.sum(dim=1))
        else:
            grad[own][i].addmm_(p, other_rows[j] * numbers)
            pulls[own][i].add_(torch.mv(p, numbers[:, 0]))

    with full_precision_products():
        for index, i in enumerate(row_tiles if layers else []):
            for layer in layers:
                layer.start_rows(i)
            for j in column_tiles[index:] if symmetric else column_tiles:
                mirrored = symmetric and i != j
                pull_i, pull_j = wanted(i), mirrored and wanted(j)
                values, slopes = zip(*(layer.fill(j, pull_i or pull_j) for layer in layers))
                k = _product(values)
                exclude(k, i, j)
                # unless its transpose is asked for, a mirrored tile counts twice instead
                add_weighted(i, k, j, 2 if mirrored and not weight_gradient else 1)
                if mirrored and weight_gradient:
                    add_weighted(j, k.T, i, 1)
                if not (pull_i or pull_j):
                    continue
                side_i, side_j = _side(i, rows_x), _side(j, columns_x)
                into_rows = classes == 1 and side_i is not None and side_j is not None
                if not into_rows:
                    coefficient = torch.mm(left[i], right[j].T, out=layers[0].scratch(k.shape))
                for own, slope in enumerate(slopes):
                    for other, value in enumerate(values):
                        if other != own:
                            slope.mul_(value)
                    if not into_rows:
                        slope.mul_(coefficient)
                    exclude(slope, i, j)
                    if pull_i:
                        pull(own, i, slope, j, columns[own], right_scaled[j, side_i, None] if into_rows else None)
                    if pull_j:
                        pull(own, j, slope.T, i, rows[own], right_scaled[i, side_j, None] if into_rows else None)
    for part, part_rows, pulled, layer in zip(grad, rows, pulls, layers):
        part.addcmul_(part_rows, pulled.to(dtype)[:, None], value=-1)
        factor = 4 if layer.unit is None else 4 * layer.unit
        part.mul_(factor * row_weight.to(dtype) if classes == 1 else factor)
        for side, want in zip((part[:rows_x], part[rows_x:]), gradient):
            if not want:
                side.zero_()
    return finish(weighted, rows_x, row_weight, scale, grad, dtype if weight_gradient else None)


def _ready(rows: list[Tensor]) -> list[Tensor]:
    dtype = torch.promote_types(rows[0].dtype, torch.float32)
    return [part.to(dtype).contiguous() for part in rows]


def tiles_of(rows: Tensor, n_x: int) -> list[slice]:
    """One slice if it can be, or even slices of x and then of y, of at most `TILE_ROWS` rows."""
    n = len(rows)
    most = TILE_ROWS.get(rows.device.type, TILE_ROWS["cuda"])
    if n <= most:
        return [slice(0, n)] if n else []
    tiles = []
    for begin, end in ((0, n_x), (n_x, n)):
        if end > begin:
            size = -(-(end - begin) // -(-(end - begin) // most))
            tiles += [slice(start, min(start + size, end)) for start in range(begin, end, size)]
    return tiles


def _side(tile: slice, n_x: int) -> int | None:
    """0 for a tile of x, 1 for one of y, None for one of both."""
    if tile.stop <= n_x:
        return 0
    return 1 if tile.start >= n_x else None


def _matrix_product(a: Tensor, b: Tensor) -> Tensor:
    return torch.mv(a, b[:, 0])[:, None] if b.shape[1] == 1 else a @ b


def _layers(kernel: Kernel, rows, columns, row_tiles, column_tiles) -> list[TileLayer]:
    tile = max(map(_length, row_tiles)), max(map(_length, column_tiles))
    return [TileLayer(kernel, index, *pair, tile) for index, pair in enumerate(zip(rows, columns))]


def _length(tile: slice) -> int:
    return tile.stop - tile.start


def _product(values) -> Tensor:
    k = values[0]
    for value in values[1:]:
        k = k * value
    return k
