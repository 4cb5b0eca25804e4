"""A kernel matrix times vectors, without the matrix, as a PyTorch operator."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.library import custom_op

from tl_research.kernels.backends.choice import resolve
from tl_research.kernels.backends.protocol import WITHIN_X
from tl_research.kernels.ops import KERNEL, packed
from tl_research.kernels.rows import compute_dtype, pooled


@custom_op(
    "tl_research::gram_product",
    mutates_args=(),
    schema=f"(Tensor[] x, Tensor[] y, Tensor v, {KERNEL}, str backend) -> Tensor",
)
def gram_apply(x, y, v, family, bandwidths, doubling, alpha, backend):
    """Return K v (n, C) for a kernel that multiplies over layers."""
    run = resolve(backend, v.device)
    with torch.autocast(v.device.type, enabled=False):
        rows, columns = _centred(x, y, run.HALF)
        wide = v.to(compute_dtype(v))
        product = run.gram_product(rows, columns, wide, packed(family, bandwidths, doubling, alpha))
    return product.to(compute_dtype(*x, *y, v)).contiguous()


@gram_apply.register_fake
def _(x, y, v, family, bandwidths, doubling, alpha, backend):
    return v.new_empty((x[0].shape[0], v.shape[1]), dtype=compute_dtype(*x, *y, v))


@custom_op(
    "tl_research::gram_product_rows",
    mutates_args=(),
    schema=f"(Tensor[] x, Tensor[] y, Tensor upstream, Tensor v, {KERNEL}, str backend) -> Tensor[]",
)
def gram_rows_gradient(x, y, upstream, v, family, bandwidths, doubling, alpha, backend):
    """Return the gradient of Σ_ic upstream_ic (K v)_ic in each layer of x, which is not differentiable again."""
    run = resolve(backend, v.device)
    with torch.autocast(v.device.type, enabled=False):
        rows, columns = _centred(x, y, run.HALF)
        # a one-sided sum: half of what `row_sums` gives for a pair, whose gradient there comes from both its orders
        scale = v.new_zeros((3, v.shape[1]), dtype=torch.float64)
        scale[WITHIN_X] = 0.5
        out = run.row_sums(
            rows,
            x[0].shape[0],
            columns,
            y[0].shape[0],
            upstream.to(compute_dtype(upstream)),
            v.to(compute_dtype(v)),
            scale,
            packed(family, bandwidths, doubling, alpha),
            self_column=None,
            gradient=(True, True),
            weight_gradient=False,
        )
    return [grad.to(compute_dtype(a)).contiguous() for grad, a in zip(out.grad, x)]


@gram_rows_gradient.register_fake
def _(x, y, upstream, v, family, bandwidths, doubling, alpha, backend):
    return [a.new_empty(a.shape, dtype=compute_dtype(a)) for a in x]


def _keep(ctx, inputs, output):
    x, y, v, *ctx.kernel, ctx.backend = inputs
    ctx.layers = len(x)
    ctx.save_for_backward(*x, *y, v)


def _backward(ctx, upstream):
    *rows, v = ctx.saved_tensors
    x, y = rows[: ctx.layers], rows[ctx.layers :]
    needs_x, needs_y, needs_v, *_ = ctx.needs_input_grad
    x_grads, y_grads, v_grad = [None] * ctx.layers, [None] * ctx.layers, None
    rest = (*ctx.kernel, ctx.backend)
    if any(needs_x):
        grads = gram_rows_gradient(x, y, upstream, v, *rest)
        x_grads = [grad.to(a.dtype) for grad, a in zip(grads, x)]
    if any(needs_y):
        grads = gram_rows_gradient(y, x, v, upstream, *rest)
        y_grads = [grad.to(b.dtype) for grad, b in zip(grads, y)]
    if needs_v:
        v_grad = gram_apply(y, x, upstream, *rest).to(v.dtype)
    return x_grads, y_grads, v_grad, None, [None] * ctx.layers, None, None, None


gram_apply.register_autograd(_backward, setup_context=_keep)


def _centred(x: list[Tensor], y: list[Tensor], half: bool) -> tuple[list[Tensor], list[Tensor]]:
    blocks = [pooled(a, b, half=half) for a, b in zip(x, y)]
    n = x[0].shape[0]
    return [block[:n] for block in blocks], [block[n:] for block in blocks]
