"""All pairs of a few rows as one tile, in as few tensor operations as they take."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.kernels.backends.protocol import Sums
from tl_research.kernels.kernel import Kernel
from tl_research.kernels.sides import by_side, finish, sided


def whole_pair_sums(
    rows: Tensor,
    n_x: int,
    weight: Tensor,
    scale: Tensor,
    kernel: Kernel,
    gradient: tuple[bool, bool],
    weight_gradient: bool,
) -> Sums:
    """`Backend.pair_sums` of one layer (N, d) whose Gaussian needs one exponential."""
    sigmas = kernel.bandwidths[0]
    gamma = (0.5 / sigmas[-1].square()).to(rows.dtype)
    right = sided(weight, n_x).to(rows.dtype)
    scaled = rows * gamma
    norms = torch.linalg.vecdot(scaled, rows)
    power = torch.addmm(norms, scaled, rows.T, beta=-1, alpha=2).sub_(norms[:, None]).exp_()
    power.fill_diagonal_(0)
    value, slope = power, power
    for level in range(1, sigmas.numel()):
        power = power.square()
        value = value + power
        if any(gradient):
            slope = torch.add(slope, power, alpha=2**level)
    weighted = (value @ right).double()
    grad = []
    if any(gradient):
        left = by_side(weight, n_x, scale).to(rows.dtype)
        pull = slope.mul_(left @ right.T) if slope is not value else slope * (left @ right.T)
        part = torch.addmm(rows * pull.sum(dim=1, keepdim=True), pull, rows, beta=-1).mul_(4 * gamma)
        for side, want in zip((part[:n_x], part[n_x:]), gradient):
            if not want:
                side.zero_()
        grad = [part]
    return finish(weighted, n_x, weight, scale, grad, rows.dtype if weight_gradient else None)
