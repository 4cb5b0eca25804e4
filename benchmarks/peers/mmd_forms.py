"""The unbiased multi-bandwidth MMD in the forms in use: functions of (x, y, sigmas) that autograd can go through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.kernels import mmd2

Mmd = Callable[[Tensor, Tensor, list[float]], Tensor]


@dataclass(frozen=True)
class Form:
    """How to get a form, and what it needs.

    Fields:
        build: returns the function; ImportError where a package is missing.
        floats: number of values alive at the peak of forward and backward, of (rows of both sides, width, bandwidths).
        cost: rough time in Gram products, before a smaller cell has been timed.
        exact: whether it computes this very function, so that its error means something.
    """

    build: Callable[[], Mmd]
    floats: Callable[[int, int, int], int]
    cost: float
    exact: bool = True


def ours() -> Mmd:
    return lambda x, y, sigmas: mmd2(x, y, bandwidths=sigmas)


def _combine(within_x: Tensor, within_y: Tensor, across: Tensor) -> Tensor:
    n, m = across.shape
    x_mean = (within_x.sum() - within_x.diagonal().sum()) / (n * (n - 1))
    y_mean = (within_y.sum() - within_y.diagonal().sum()) / (m * (m - 1))
    return x_mean + y_mean - 2 * across.mean()


def _blocks(squared: Tensor, n: int, sigmas: list[float]) -> Tensor:
    k = sum(torch.exp(-squared / (2 * sigma**2)) for sigma in sigmas)
    return _combine(k[:n, :n], k[n:, n:], k[:n, n:])


def broadcast_form(x: Tensor, y: Tensor, sigmas: list[float]) -> Tensor:
    z = torch.cat([x, y])
    return _blocks((z[:, None] - z[None]).square().sum(dim=2), len(x), sigmas)


def gram_form(x: Tensor, y: Tensor, sigmas: list[float]) -> Tensor:
    z = torch.cat([x, y])
    norms = z.square().sum(dim=1)
    return _blocks((norms[:, None] + norms - 2 * z @ z.T).clamp_min(0), len(x), sigmas)


def _compiled_gram() -> Mmd:
    # The compiler keeps a few sizes of one function and runs the others as they are, without a word.
    torch.compiler.reset()
    return torch.compile(gram_form, dynamic=False)


def _keops() -> Mmd:
    from pykeops.torch import LazyTensor

    def mean(a: Tensor, b: Tensor, sigmas: list[float], same: bool) -> Tensor:
        squared = ((LazyTensor(a[:, None].contiguous()) - LazyTensor(b[None].contiguous())) ** 2).sum(-1)
        total = sum((-squared / (2 * sigma**2)).exp() for sigma in sigmas).sum(1).sum()
        return (total - len(a) * len(sigmas)) / (len(a) * (len(a) - 1)) if same else total / (len(a) * len(b))

    return lambda x, y, s: mean(x, x, s, True) + mean(y, y, s, True) - 2 * mean(x, y, s, False)


def _pytorch_adapt() -> Mmd:
    from pytorch_adapt.layers import MMDLoss
    from pytorch_adapt.layers.utils import get_kernel_scales

    def run(x: Tensor, y: Tensor, sigmas: list[float]) -> Tensor:
        half = len(sigmas) // 2
        scales = get_kernel_scales(low=-half, high=half, num_kernels=len(sigmas)) if half else 1
        return MMDLoss(kernel_scales=scales, mmd_type="quadratic")(x, y)

    return run


FORMS = {
    "broadcast": Form(lambda: broadcast_form, lambda n, d, b: 3 * n * n * d, 250.0),
    "gram": Form(lambda: gram_form, lambda n, d, b: (2 * b + 6) * n * n, 12.0),
    "gram_compiled": Form(_compiled_gram, lambda n, d, b: 4 * n * n, 12.0),
    "keops": Form(_keops, lambda n, d, b: 6 * n * d, 100.0),
    # its kernels are relative to its own heuristic, and both its means are biased differently
    "pytorch_adapt": Form(_pytorch_adapt, lambda n, d, b: (2 * b + 8) * n * n, 20.0, exact=False),
    "ours": Form(ours, lambda n, d, b: 6 * n * d, 3.0),
}
