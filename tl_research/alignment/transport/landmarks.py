"""Weighted centroids that stand for many rows."""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 8
#: Rows a centroid that all rounds but the last look at; the last takes every row.
ROWS_A_CENTROID = 10
#: Rows assigned at a time.
CHUNK_ROWS = 8192


def centroids(x: Tensor, weight: Tensor, count: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Quantise weighted rows by a few rounds of Lloyd's algorithm, begun at rows drawn without replacement.

    Where the rows are very many, all rounds but the last see a part of them; masses and means are those of all rows.

    Centroids rather than drawn rows: at equal number the entropic map made from them is two to four times nearer
    to the map of all rows, because the first moment of each cell is kept.

    Args:
        x: (n, d) rows.
        weight: (n,) float64, > 0, sum 1.
        count: centroids wanted; at most n.
        seed: of the draw.

    Returns:
        (k, d) float64 centroids and (k,) float64 masses > 0 of sum 1, k <= count (cells left empty are dropped).
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(x.shape[0], generator=generator).to(x.device)
    offset = x.double().mean(dim=0)
    rows = (x.double() - offset).float()  # the nearest centroid needs no more digits, the means below do
    centre = rows[order[:count]].double()
    part = order[: ROWS_A_CENTROID * count]
    some, some_weight = rows[part], weight[part]
    for _ in range(ROUNDS - 1):
        centre, _ = _means(some, some_weight, centre)
    centre, mass = _means(rows, weight, centre)
    return centre + offset, mass


def _means(rows: Tensor, weight: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Means and masses of the rows nearest to each centroid, without those that have none."""
    nearest = _nearest(rows, centre.float())
    mass = weight.new_zeros(centre.shape[0]).index_add_(0, nearest, weight)
    total = centre.new_zeros(centre.shape)
    for where in torch.arange(len(rows), device=rows.device).split(CHUNK_ROWS):
        total.index_add_(0, nearest[where], weight[where, None] * rows[where])
    kept = mass > 0
    return total[kept] / mass[kept, None], mass[kept]


def _nearest(rows: Tensor, centre: Tensor) -> Tensor:
    norm = centre.square().sum(dim=1)
    parts = [torch.addmm(norm, part, centre.T, alpha=-2.0).argmin(dim=1) for part in rows.split(CHUNK_ROWS)]
    return torch.cat(parts)
