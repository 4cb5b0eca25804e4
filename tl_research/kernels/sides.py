"""The two sides of a block of pairs in one product of rank 2C, and the sums of its blocks from it."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.kernels.backends.protocol import ACROSS, WITHIN_X, WITHIN_Y, Sums


def by_side(weight: Tensor, n_x: int, scale: Tensor) -> Tensor:
    """(n, 2C): weight · scale of the blocks that a row forms with x and with y."""
    of_x = torch.cat([scale[WITHIN_X], scale[ACROSS]])
    of_y = torch.cat([scale[ACROSS], scale[WITHIN_Y]])
    twice = torch.cat([weight, weight], dim=1)
    return torch.cat([twice[:n_x] * of_x, twice[n_x:] * of_y])


def sided(weight: Tensor, n_x: int) -> Tensor:
    """(n, 2C): the weight of a row of x in the first C columns, of a row of y in the others, and 0."""
    count = weight.shape[1]
    out = weight.new_zeros(len(weight), 2 * count)
    out[:n_x, :count] = weight[:n_x]
    out[n_x:, count:] = weight[n_x:]
    return out


def finish(weighted, rows_x: int, row_weight, scale, grad: list[Tensor], weight_dtype) -> Sums:
    """Sums of the blocks, and gradient of the weights, from K t̃ (n, 2C)."""
    products = torch.cat([row_weight, row_weight], dim=1) * weighted
    x_to_x, x_to_y = products[:rows_x].sum(dim=0).chunk(2)
    y_to_x, y_to_y = products[rows_x:].sum(dim=0).chunk(2)
    sums = torch.stack([x_to_x, y_to_y, x_to_y + y_to_x])
    weight_grad = None
    if weight_dtype is not None:
        both = weighted * by_side(torch.ones_like(row_weight), rows_x, scale)
        weight_grad = (2 * sum(both.chunk(2, dim=1))).to(weight_dtype)
    return Sums(sums, grad, weight_grad)
