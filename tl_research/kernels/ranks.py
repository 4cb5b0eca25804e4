"""Kernel sums over the rows of all ranks: each rank works on its own rows against everyone's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tl_research.kernels.arguments import check_choice, check_detach, check_rows, checked_kernel
from tl_research.kernels.backends.choice import check_backend, resolve
from tl_research.kernels.backends.protocol import Sums
from tl_research.kernels.bandwidth import Ladder
from tl_research.kernels.kernel import Kernel
from tl_research.kernels.rows import pooled
from tl_research.parallel.ranks import gather_rows, is_distributed, rank, row_counts, sum_across_ranks, world_size

ESTIMATORS = ("unbiased", "biased")


def mmd_sum_across_ranks(
    x: list[Tensor],
    y: list[Tensor],
    x_weight: Tensor,
    y_weight: Tensor,
    scale: Tensor,
    kernel: Kernel,
    *,
    detach: str | None = None,
    backend: str = "auto",
    counts: list[list[int]] | None = None,
) -> Tensor:
    """L = Σ_c Σ_{i != j} scale[block(i, j), c] · s_ic · s_jc · k(z_i, z_j) over z = [x; y] of all ranks.

    Every rank must call it. Each computes the block of its own rows against everyone's, so that the work is shared;
    rows are exchanged once, going forward, and nothing is going back. Every rank gets the same value. Gradients have
    the convention of `ranks.gather_rows`: those of rows and weights are world_size times those of one process,
    those of `scale`, of which every rank has a copy, are those of one process; so that the average over ranks of
    parameter gradients is the gradient of one process holding the global batch, where every rank goes on with the
    value in the same way.

    Args:
        x: for each layer this rank's rows (n, d_l), float; n may differ from rank to rank, 0 included.
        y: likewise (m, d_l).
        x_weight: (n, C) weights of the rows, float32 or float64.
        y_weight: (m, C) likewise.
        scale: (3, C), of pairs within x, within y and across (a pair across counts in both orders); the same on every
            rank.
        kernel: of one family of bandwidths per layer.
        detach: `x` or `y`: no gradient for this side, neither its rows nor its weights.
        backend: `auto` or a backend's name.
        counts: `ranks.row_counts(x[0], y[0])` where the caller has them.

    Returns:
        Scalar, float64.
    """
    if is_distributed() and counts is None:
        counts = row_counts(x[0], y[0])
    check_backend(backend, "mmd_sum_across_ranks")
    if detach == "x":
        x, x_weight = [rows.detach() for rows in x], x_weight.detach()
    if detach == "y":
        y, y_weight = [rows.detach() for rows in y], y_weight.detach()
    chosen = resolve(backend, x[0].device)
    with torch.autocast(x[0].device.type, enabled=False):
        return _KernelSum.apply(kernel, chosen, counts, len(x), x_weight, y_weight, scale, *x, *y)


class _KernelSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, kernel, backend, counts, layers, x_weight, y_weight, scale, *rows):
        wanted = ctx.needs_input_grad
        asked = {
            "gradient": (any(wanted[7 : 7 + layers]), any(wanted[7 + layers :])),
            "weight_gradient": wanted[4] or wanted[5],
        }
        z, weight = _everyone(rows[:layers], rows[layers:], x_weight, y_weight, counts, backend.HALF)
        if counts is None:
            n_x = len(x_weight)
            sums, grad, weight_grad = backend.pair_sums(z, n_x, weight, scale, kernel, **asked)
        else:
            own = _own_places(counts, weight.device)
            sums, grad, weight_grad = _own_block(z, weight, own, counts, scale, kernel, backend, asked)
            sums = sum_across_ranks(sums)
        ctx.ranks = 1 if counts is None else world_size()
        ctx.dtypes = [part.dtype for part in (x_weight, y_weight, scale, *rows)]
        ctx.save_for_backward(*_by_input(len(x_weight), sums, grad, weight_grad, layers, asked))
        return (scale.double() * sums).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream):
        # scale is every rank's own copy, rows and weights are of this rank alone
        factors = [ctx.ranks, ctx.ranks, 1] + [ctx.ranks] * (len(ctx.dtypes) - 3)
        grads = [
            (factor * upstream.to(part.dtype) * part).to(dtype) if part is not None and wanted else None
            for part, factor, dtype, wanted in zip(ctx.saved_tensors, factors, ctx.dtypes, ctx.needs_input_grad[4:])
        ]
        return None, None, None, None, *grads


def _by_input(n_x, sums, grad, weight_grad, layers, asked) -> list[Tensor | None]:
    """Order the gradients as the inputs x_weight, y_weight, scale, *x, *y."""
    of_weight = (weight_grad[:n_x], weight_grad[n_x:]) if asked["weight_gradient"] else (None, None)
    of_x = [part[:n_x] for part in grad] if asked["gradient"][0] else [None] * layers
    of_y = [part[n_x:] for part in grad] if asked["gradient"][1] else [None] * layers
    return [*of_weight, sums, *of_x, *of_y]


def _everyone(x, y, x_weight, y_weight, counts, half: bool) -> tuple[list[Tensor], Tensor]:
    """Return for each layer the centred rows z = [x; y] of all ranks, and their weights."""
    if counts is not None:
        # detached, because here a gather's backward would be one exchange too many
        x, y = ([gather_rows(part.detach(), of_rank) for part in side] for side, of_rank in zip((x, y), counts))
        x_weight, y_weight = (
            gather_rows(part.detach(), of_rank) for part, of_rank in zip((x_weight, y_weight), counts)
        )
    # every rank takes the centre from the same rows in the same order, so that it is the one of one process
    return [pooled(*pair, half=half) for pair in zip(x, y)], torch.cat([x_weight, y_weight])


def _own_places(counts: list[list[int]], device: torch.device) -> Tensor:
    """Positions of this rank's rows among everyone's: x of rank 0, x of rank 1, ..., then the y."""
    places, start = [], 0
    for side in counts:
        first = start + sum(side[: rank()])
        places.append(torch.arange(first, first + side[rank()], device=device))
        start += sum(side)
    return torch.cat(places)


def _own_block(z, weight, own, counts, scale, kernel, backend, asked) -> Sums:
    if not len(own):
        empty = [part[:0] for part in z]
        return Sums(scale.new_zeros(scale.shape, dtype=torch.float64), empty, weight[:0])
    return backend.row_sums(
        [part[own] for part in z],
        counts[0][rank()],
        z,
        sum(counts[0]),
        weight[own],
        weight,
        scale,
        kernel,
        self_column=own,
        **asked,
    )


def mmd2_across_ranks(
    x: Tensor,
    y: Tensor,
    *,
    bandwidths: Sequence[float] | Tensor | Ladder,
    estimator: str = "unbiased",
    x_weight: Tensor | None = None,
    y_weight: Tensor | None = None,
    detach: str | None = None,
    kernel: str = "gaussian",
    alpha: float = 1.0,
    backend: str = "auto",
) -> Tensor:
    """`mmd2` of the rows of all ranks, from this rank's rows; every rank must call it, and run its backward.

    Args:
        x: (n, d) float; n may differ from rank to rank, 0 included: all ranks together need the rows.
        y: (m, d) likewise.
        bandwidths: as of `mmd2`; the same on every rank (`mean_squared_distance(..., across_ranks=True)`).
        estimator: `unbiased` or `biased`.
        x_weight: (n,) relative weights >= 0, or None for equal ones; given on every rank or on none.
        y_weight: (m,) likewise.
        detach: `x` or `y`: this side is a constant, its rows and its weights.
        kernel: one of `kernel.FAMILIES`.
        alpha: exponent of the rational quadratic kernel.
        backend: `auto` or a backend's name.

    Returns:
        Scalar, the same on every rank, in the dtype of `x`, float32 at least; the gradients are those of
        `ranks.gather_rows` followed by `mmd2`.

    Raises:
        ValueError: as `mmd2`, of the rows of all ranks.
    """
    check_choice("estimator", estimator, ESTIMATORS, "mmd2")
    check_detach(detach, "mmd2")
    check_rows([x], [y], "mmd2", least=0)  # of this rank: all together are counted below
    _check_weight("x", x_weight, x)
    _check_weight("y", y_weight, y)
    family = checked_kernel([bandwidths], kernel, alpha, x.device, "mmd2")
    # their shares reach the scale too
    if detach == "x" and x_weight is not None:
        x_weight = x_weight.detach()
    if detach == "y" and y_weight is not None:
        y_weight = y_weight.detach()
    counts = row_counts(x, y)
    _check_rows(counts, x_weight, y_weight, estimator)
    x_share, x_squares = _shares(x, sum(counts[0]), x_weight)
    y_share, y_squares = _shares(y, sum(counts[1]), y_weight)
    one = torch.ones_like(x_squares)
    if estimator == "unbiased":
        scale = torch.stack([1 / (1 - x_squares), 1 / (1 - y_squares), -one])[:, None]
    else:
        scale = torch.stack([one, one, -one])[:, None]
    value = mmd_sum_across_ranks(
        [x],
        [y],
        x_share,
        y_share,
        scale,
        family,
        detach=detach,
        backend=backend,
        counts=counts if is_distributed() else None,
    )
    if estimator == "biased":
        value = value + family.at_zero * (x_squares + y_squares)
    return value.to(torch.promote_types(x.dtype, torch.float32))


def _shares(rows: Tensor, total: int, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return this rank's shares (n, 1) of the weight of all ranks, float64, and Σ share² over all ranks."""
    if weight is None:
        share = torch.full((rows.shape[0], 1), 1 / total, dtype=torch.float64, device=rows.device)
        return share, share.new_tensor(1 / total)
    weight = weight.double()
    share = weight / sum_across_ranks(weight.sum())
    return share[:, None], sum_across_ranks(share.square().sum())


def _check_weight(name: str, weight: Tensor | None, rows: Tensor) -> None:
    if weight is not None and weight.shape != rows.shape[:1]:
        raise ValueError(f"mmd2: {name}_weight: got shape {tuple(weight.shape)} for {rows.shape[0]} rows")


def _check_rows(counts: list[list[int]], x_weight: Tensor | None, y_weight: Tensor | None, estimator: str) -> None:
    """Refuse what all ranks hold together, on every rank alike: one that stopped alone would leave the others."""
    needed = 2 if estimator == "unbiased" else 1
    for name, side, weight in (("x", counts[0], x_weight), ("y", counts[1], y_weight)):
        if sum(side) < needed:
            raise ValueError(f"mmd2: {name} has {sum(side)} row(s); the {estimator} estimator needs {needed}")
        if weight is None:
            continue
        weight = weight.detach()
        bad = ~((weight >= 0) & weight.isfinite())
        bad, positive = sum_across_ranks(torch.stack([bad.sum(), (weight > 0).sum()])).tolist()
        if bad:
            raise ValueError(f"mmd2: {name}_weight: got a negative weight or one that is not finite")
        if positive < needed:
            raise ValueError(
                f"mmd2: {name}_weight: {positive} positive weight(s); the {estimator} estimator needs {needed}"
            )
