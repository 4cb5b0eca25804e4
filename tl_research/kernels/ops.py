"""The weighted pair sum as a PyTorch operator: its gradient is made in the forward pass and kept, N x d."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.library import custom_op

from tl_research.kernels.arguments import check_detach
from tl_research.kernels.backends.choice import check_backend, resolve
from tl_research.kernels.kernel import Kernel
from tl_research.kernels.rows import compute_dtype, pooled

#: What stands for a `Kernel` in a schema; `unpacked` and `Kernel(*)` are the two ways.
KERNEL = "str family, Tensor[] bandwidths, bool[] doubling, float alpha"


def mmd_sum(
    x: list[Tensor],
    y: list[Tensor],
    x_weight: Tensor,
    y_weight: Tensor,
    scale: Tensor,
    kernel: Kernel,
    *,
    detach: str | None = None,
    backend: str = "auto",
) -> Tensor:
    """L = Σ_c Σ_{i != j} scale[block(i, j), c] · w_ic · w_jc · k(z_i, z_j) over ordered pairs of the rows z = [x; y].

    Differentiable once, in the rows, the weights and `scale`. As L is a scalar, its gradient is computed together
    with its value, for what requires it and only where gradients are enabled, and kept: one (n + m, d) block beside
    the centred rows. Autocast has no say inside.

    Args:
        x: for each layer (n, d_l) float rows.
        y: for each layer (m, d_l).
        x_weight: (n, C) float32 or float64, any sign.
        y_weight: (m, C).
        scale: (3, C) float32 or float64, for pairs within x, within y and across (which come in both orders).
        kernel: with its bandwidths on the device of the rows.
        detach: `x` or `y`: no gradient for this side, neither its rows nor its weights.
        backend: a name of `backends.NAMES`.

    Returns:
        Scalar float64.

    Raises:
        ValueError: unknown backend or side.
        RuntimeError: on a second differentiation.
    """
    check_backend(backend, "mmd_sum")
    check_detach(detach, "mmd_sum")
    if detach == "x":
        x, x_weight = [rows.detach() for rows in x], x_weight.detach()
    if detach == "y":
        y, y_weight = [rows.detach() for rows in y], y_weight.detach()
    wanted = [
        torch.is_grad_enabled() and any(part.requires_grad for part in parts) for parts in (x, y, (x_weight, y_weight))
    ]
    if torch.compiler.is_compiling():
        return pair_sums(list(x), list(y), x_weight, y_weight, scale, *unpacked(kernel), *wanted, backend)[0]
    # the same computation: small batches would spend more time in the operator's bookkeeping than in the sums
    return _Eager.apply(len(x), (*unpacked(kernel), *wanted, backend), x_weight, y_weight, scale, *x, *y)


def unpacked(kernel: Kernel) -> tuple:
    """The arguments of `KERNEL`."""
    return kernel.family, list(kernel.bandwidths), list(kernel.doubling), float(kernel.alpha)


def packed(family: str, bandwidths: list[Tensor], doubling: list[bool], alpha: float) -> Kernel:
    """`unpacked` undone."""
    return Kernel(family, tuple(bandwidths), tuple(doubling), alpha)


@custom_op(
    "tl_research::pair_sums",
    mutates_args=(),
    schema=f"(Tensor[] x, Tensor[] y, Tensor x_weight, Tensor y_weight, Tensor scale, {KERNEL}, "
    "bool x_gradient, bool y_gradient, bool weight_gradient, str backend) -> Tensor[]",
)
def pair_sums(
    x,
    y,
    x_weight,
    y_weight,
    scale,
    family,
    bandwidths,
    doubling,
    alpha,
    x_gradient,
    y_gradient,
    weight_gradient,
    backend,
):
    """Return [value, sums, each layer's gradient (n + m, d_l) where a side wants it, weight gradient if wanted]."""
    return _computed(
        x,
        y,
        x_weight,
        y_weight,
        scale,
        family,
        bandwidths,
        doubling,
        alpha,
        x_gradient,
        y_gradient,
        weight_gradient,
        backend,
    )


def _computed(
    x,
    y,
    x_weight,
    y_weight,
    scale,
    family,
    bandwidths,
    doubling,
    alpha,
    x_gradient,
    y_gradient,
    weight_gradient,
    backend,
):
    run = resolve(backend, x[0].device)
    with torch.autocast(x[0].device.type, enabled=False):
        out = run.pair_sums(
            [pooled(a, b, half=run.HALF) for a, b in zip(x, y)],
            x[0].shape[0],
            torch.cat([x_weight, y_weight]),
            scale,
            packed(family, bandwidths, doubling, alpha),
            gradient=(x_gradient, y_gradient),
            weight_gradient=weight_gradient,
        )
        results = [(scale.double() * out.sums).sum(), out.sums.contiguous()]
        results += [grad.to(compute_dtype(a, b)).contiguous() for grad, a, b in zip(out.grad, x, y)]
        if weight_gradient:
            results.append(out.weight_grad.to(compute_dtype(x_weight, y_weight)).contiguous())
    return results


@pair_sums.register_fake
def _(
    x,
    y,
    x_weight,
    y_weight,
    scale,
    family,
    bandwidths,
    doubling,
    alpha,
    x_gradient,
    y_gradient,
    weight_gradient,
    backend,
):
    results = [scale.new_empty((), dtype=torch.float64), scale.new_empty(scale.shape, dtype=torch.float64)]
    if x_gradient or y_gradient:
        for a, b in zip(x, y):
            results.append(a.new_empty((a.shape[0] + b.shape[0], a.shape[1]), dtype=compute_dtype(a, b)))
    if weight_gradient:
        shape = (x_weight.shape[0] + y_weight.shape[0], x_weight.shape[1])
        results.append(x_weight.new_empty(shape, dtype=compute_dtype(x_weight, y_weight)))
    return results


def _keep(ctx, inputs, output):
    x, y, x_weight, y_weight, scale, _, bandwidths, _, _, *wanted, _ = inputs
    kept = output[1:]
    # only the value has a derivative here; the rest is kept for it
    ctx.mark_non_differentiable(*kept)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*kept)
    ctx.wanted = wanted
    ctx.dtypes = [a.dtype for a in x], [b.dtype for b in y], x_weight.dtype, y_weight.dtype, scale.dtype
    ctx.sizes = x[0].shape[0], len(bandwidths)


def _backward(ctx, upstreams):
    upstream = upstreams[0]
    sums, *kept = ctx.saved_tensors
    x_wanted, y_wanted, weight_wanted = ctx.wanted
    x_dtypes, y_dtypes, x_weight_dtype, y_weight_dtype, scale_dtype = ctx.dtypes
    n, layers = ctx.sizes
    x_grads, y_grads, weight_grads = [None] * layers, [None] * layers, (None, None)
    if upstream is None:  # nothing arrives; zeros are not made, because the kept tensors are large
        return x_grads, y_grads, *weight_grads, None, None, [None] * layers, *[None] * 6
    if weight_wanted:
        grad = upstream * kept.pop()
        weight_grads = once(grad[:n].to(x_weight_dtype)), once(grad[n:].to(y_weight_dtype))
    for layer, grad in enumerate(kept):
        grad = upstream * grad
        if x_wanted:
            x_grads[layer] = once(grad[:n].to(x_dtypes[layer]))
        if y_wanted:
            y_grads[layer] = once(grad[n:].to(y_dtypes[layer]))
    scale_grad = once((upstream * sums).to(scale_dtype)) if ctx.needs_input_grad[4] else None
    return x_grads, y_grads, *weight_grads, scale_grad, None, [None] * layers, *[None] * 6


pair_sums.register_autograd(_backward, setup_context=_keep)


class _Eager(torch.autograd.Function):
    """`pair_sums` without the dispatcher between: one value out, the rest kept."""

    @staticmethod
    def forward(ctx, layers, rest, x_weight, y_weight, scale, *rows):
        inputs = (list(rows[:layers]), list(rows[layers:]), x_weight, y_weight, scale, *rest)
        output = _computed(*inputs)
        _keep(ctx, inputs, output)
        return output[0]

    @staticmethod
    def backward(ctx, upstream):
        x_grads, y_grads, x_weight_grad, y_weight_grad, scale_grad, *_ = _backward(ctx, [upstream])
        return None, None, x_weight_grad, y_weight_grad, scale_grad, *x_grads, *y_grads


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, grad):
        return grad.view_as(grad)

    @staticmethod
    def backward(ctx, grad):
        raise RuntimeError("tl_research::pair_sums (mmd2) is differentiable once; it has no second derivative")


def once(grad: Tensor) -> Tensor:
    """Under create_graph a second differentiation must fail, where constants would silently give 0."""
    if not torch.is_grad_enabled():
        return grad
    return _Once.apply(grad if grad.requires_grad else grad.requires_grad_())
