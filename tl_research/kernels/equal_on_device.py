"""The common call on a card: one layer and equal weights, in one launch for few rows and few operations beside it.

For the batches of a training, 32 to 512 rows per side, the host's operations cost more than the kernel. Equal weights
and the estimate's factors are numbers that the host knows, so that none of them is made on the device.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.library import custom_op

from tl_research.kernels.backends import triton
from tl_research.kernels.kernel import Kernel
from tl_research.kernels.ops import once


def serves(x: list[Tensor], y: list[Tensor], backend: str) -> bool:
    """Whether `equal_mmd2` computes this call."""
    if len(x) != 1 or backend not in ("auto", "triton"):
        return False
    wide = torch.float64 in (x[0].dtype, y[0].dtype)
    return not wide and triton.available(x[0].device)


def equal_mmd2(x: Tensor, y: Tensor, kernel: Kernel, *, unbiased: bool, detach: str | None) -> Tensor:
    """`mmd2` without weights, biased or unbiased; scalar float32, differentiable once."""
    x, y = x.detach() if detach == "x" else x, y.detach() if detach == "y" else y
    wanted = [torch.is_grad_enabled() and side.requires_grad for side in (x, y)]
    rest = kernel.family, kernel.bandwidths[0], kernel.doubling[0], float(kernel.alpha), unbiased, *wanted
    if torch.compiler.is_compiling():
        return equal_estimate(x, y, *rest)[0]
    return _Eager.apply(x, y, *rest)


@custom_op(
    "tl_research::equal_mmd2",
    mutates_args=(),
    schema="(Tensor x, Tensor y, str family, Tensor bandwidths, bool doubling, float alpha, bool unbiased, "
    "bool x_gradient, bool y_gradient) -> Tensor[]",
)
def equal_estimate(x, y, family, bandwidths, doubling, alpha, unbiased, x_gradient, y_gradient):
    """Return [the estimate, its gradient (n + m, d) if a side wants it]."""
    return _computed(x, y, family, bandwidths, doubling, alpha, unbiased, x_gradient, y_gradient)


def _computed(x, y, family, bandwidths, doubling, alpha, unbiased, x_gradient, y_gradient):
    z = _joined(x, y)
    # Distances do not change, but their expansion loses no digits to an offset.
    z.sub_(z.mean(dim=0, dtype=torch.float32))
    n, m = x.shape[0], y.shape[0]
    within_x, within_y = (n * (n - 1), m * (m - 1)) if unbiased else (n * n, m * m)
    kernel = Kernel(family, (bandwidths,), (doubling,), alpha)
    scale = (1 / within_x, 1 / within_y, -1 / (n * m))
    value, grad = triton.equal_sums(z, x.shape[1], n, scale, kernel, gradient=(x_gradient, y_gradient))
    if not unbiased:
        value = value + kernel.at_zero * (1 / n + 1 / m)
    value = value.to(torch.float32)
    return [value] if grad is None else [value, grad]


def _joined(x: Tensor, y: Tensor) -> Tensor:
    """[x; y], with columns of 0 up to what the kernels read at once: nothing is copied a second time."""
    n, d = x.shape
    if d % triton.PITCH == 0:
        return torch.cat([x, y])
    dtype = x.dtype if x.dtype == y.dtype else torch.promote_types(x.dtype, y.dtype)
    z = x.new_zeros((n + y.shape[0], d + -d % triton.PITCH), dtype=dtype)
    torch.cat([x, y], out=z[:, :d])
    return z


@equal_estimate.register_fake
def _(x, y, family, bandwidths, doubling, alpha, unbiased, x_gradient, y_gradient):
    value = x.new_empty((), dtype=torch.float32)
    if not (x_gradient or y_gradient):
        return [value]
    return [value, x.new_empty((x.shape[0] + y.shape[0], x.shape[1]), dtype=torch.float32)]


def _keep(ctx, inputs, output):
    x, y, *_ = inputs
    # only the value has a derivative here; the gradient is kept for it
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*output[1:])
    ctx.sides = x.shape[0], x.dtype, y.dtype


def _backward(ctx, upstreams):
    upstream = upstreams[0]
    if upstream is None or not ctx.saved_tensors:
        return (None,) * 9
    n, x_dtype, y_dtype = ctx.sides
    grad = upstream * ctx.saved_tensors[0]
    x_grad = once(grad[:n].to(x_dtype)) if ctx.needs_input_grad[0] else None
    y_grad = once(grad[n:].to(y_dtype)) if ctx.needs_input_grad[1] else None
    return x_grad, y_grad, *(None,) * 7


equal_estimate.register_autograd(_backward, setup_context=_keep)


class _Eager(torch.autograd.Function):
    """`equal_estimate` without the dispatcher between: one value out, the rest kept."""

    @staticmethod
    def forward(ctx, *inputs):
        output = _computed(*inputs)
        _keep(ctx, inputs, output)
        return output[0]

    @staticmethod
    def backward(ctx, upstream):
        return _backward(ctx, [upstream])
