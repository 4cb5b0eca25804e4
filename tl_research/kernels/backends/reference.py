"""Dense float64 sums: the oracle of every other backend."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.kernels.backends.protocol import ACROSS, WITHIN_X, WITHIN_Y, Sums
from tl_research.kernels.kernel import Kernel

HALF = False


def pair_sums(rows, n_x, weight, scale, kernel: Kernel, *, gradient, weight_gradient) -> Sums:
    """See `Backend.pair_sums`; O(N²) float64 memory."""
    own = torch.arange(len(rows[0]), device=weight.device)
    return row_sums(
        rows,
        n_x,
        rows,
        n_x,
        weight,
        weight,
        scale,
        kernel,
        self_column=own,
        gradient=gradient,
        weight_gradient=weight_gradient,
    )


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
    rows, columns = [part.double() for part in rows], [part.double() for part in columns]
    s, t, scale = row_weight.double(), column_weight.double(), scale.double()
    values, slopes = zip(*(kernel.layer(_squared(a, b), l) for l, (a, b) in enumerate(zip(rows, columns))))
    keep = torch.ones_like(values[0])
    if self_column is not None:
        keep.scatter_(1, self_column[:, None], 0)
    k = torch.stack(values).prod(dim=0) * keep
    row_is_x = torch.arange(len(s), device=s.device) < rows_x
    column_is_x = torch.arange(len(t), device=t.device) < columns_x
    blocks = {
        WITHIN_X: row_is_x[:, None] & column_is_x,
        WITHIN_Y: ~row_is_x[:, None] & ~column_is_x,
        ACROSS: row_is_x[:, None] ^ column_is_x,
    }
    sums = torch.stack([torch.einsum("ic,ij,jc->c", s, k * blocks[b], t) for b in (WITHIN_X, WITHIN_Y, ACROSS)])
    coefficient = sum(torch.einsum("c,ic,jc->ij", scale[b], s, t) * blocks[b] for b in blocks)
    grad = []
    if any(gradient):
        wanted = torch.where(row_is_x, *gradient)[:, None]
        for layer, (a, b) in enumerate(zip(rows, columns)):
            others = torch.stack([*values[:layer], *values[layer + 1 :], keep]).prod(dim=0)
            p = coefficient * others * slopes[layer]
            grad.append(-4 * wanted * (p.sum(dim=1)[:, None] * a - p @ b))
    weight_grad = None
    if weight_gradient:
        weight_grad = 2 * sum(torch.einsum("c,ij,jc->ic", scale[b], k * blocks[b], t) for b in blocks)
    return Sums(sums, grad, weight_grad)


def gram_product(rows: list[Tensor], columns: list[Tensor], vectors: Tensor, kernel: Kernel) -> Tensor:
    """See `Backend.gram_product`."""
    pairs = enumerate(zip(rows, columns))
    k = torch.stack([kernel.layer(_squared(a.double(), b.double()), layer)[0] for layer, (a, b) in pairs]).prod(dim=0)
    return k @ vectors.double()


def _squared(a: Tensor, b: Tensor) -> Tensor:
    return (a.square().sum(dim=1)[:, None] + b.square().sum(dim=1) - 2 * a @ b.T).clamp_min(0)
