"""The nearest-neighbour graph of rows and its Laplacian."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.nn.rounding import unit_rows

#: Similarities held at once.
BLOCK_ENTRIES = 2**20


def cosine_laplacian(x: Tensor, *, neighbours: int) -> Tensor:
    """L = I - D^-1/2 S D^-1/2, with S_ij = cos(x_i, x_j) where one is among the nearest of the other, else 0.

    Args:
        x: (n, d) float.
        neighbours: nearest rows of each row, itself not among them; negative cosines count as 0.

    Returns:
        (n, n) sparse COO, symmetric positive semi-definite.

    Reference:
        Belkin, Niyogi & Sindhwani 2006, JMLR 7; Wang et al. 2018, ACM MM, eq. 9-10.
    """
    rows = len(x)
    unit = unit_rows(x)
    step = max(1, BLOCK_ENTRIES // rows)
    values, columns = [], []
    for start in range(0, rows, step):
        cosine = unit[start : start + step] @ unit.T
        own = torch.arange(len(cosine), device=x.device)
        cosine[own, start + own] = -torch.inf
        value, column = cosine.topk(min(neighbours, rows - 1), dim=1)
        values.append(value.clamp_min(0))
        columns.append(column)
    column = torch.cat(columns)
    row = torch.arange(rows, device=x.device)[:, None].expand_as(column)
    row, column, value = row.flatten(), column.flatten(), torch.cat(values).flatten()
    # An edge that both ends name comes twice with the same value; it counts once.
    key, where = torch.unique(
        torch.cat([torch.minimum(row, column) * rows + torch.maximum(row, column)]), return_inverse=True
    )
    weight = value.new_zeros(len(key)).scatter_reduce(0, where, value, "amax")
    row, column = key // rows, key % rows
    row, column = torch.cat([row, column]), torch.cat([column, row])
    weight = torch.cat([weight, weight])
    degree = value.new_zeros(rows).index_add(0, row, weight)
    scale = torch.where(degree > 0, degree, 1.0).rsqrt()
    own = torch.arange(rows, device=x.device)
    index = torch.stack([torch.cat([row, own]), torch.cat([column, own])])
    entries = torch.cat([-weight * scale[row] * scale[column], torch.ones_like(degree)])
    return torch.sparse_coo_tensor(index, entries, (rows, rows), check_invariants=False).coalesce()
