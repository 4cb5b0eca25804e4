"""A kernel matrix times vectors, and what is made of it, without the matrix."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from tl_research.kernels.arguments import check_rows, checked_kernel, checked_weight
from tl_research.kernels.backends.choice import check_backend
from tl_research.kernels.gram import gram_apply
from tl_research.kernels.ops import unpacked
from tl_research.kernels.rows import compute_dtype


def gram_product(
    x: Tensor,
    y: Tensor,
    v: Tensor,
    *,
    bandwidths: Sequence[float] | Tensor,
    kernel: str = "gaussian",
    alpha: float = 1.0,
    backend: str = "auto",
) -> Tensor:
    """K v: Σ_j k(x_i, y_j) v_j with the kernels of `mmd2`, streamed, in memory O((n + m) d).

    Every pair counts, also that of a row with itself where x and y are the same rows.

    Args:
        x: (n, d) float.
        y: (m, d) float.
        v: (m,) or (m, C) float.
        bandwidths: sigmas as in `mmd2`.
        kernel: a name of `kernel.FAMILIES`.
        alpha: exponent of the rational quadratic.
        backend: a name of `backends.NAMES`.

    Returns:
        (n,) or (n, C), float32 or wider; differentiable in `x`, `y` (once) and `v`.

    Raises:
        ValueError: shapes that do not fit, an unknown name, bandwidths that are not above 0.
    """
    caller = "gram_product"
    check_backend(backend, caller)
    check_rows([x], [y], caller)
    if v.ndim not in (1, 2) or v.shape[0] != y.shape[0] or not v.is_floating_point() or v.device != y.device:
        raise ValueError(
            f"{caller}: v: got {v.dtype} {tuple(v.shape)} on {v.device}, wants float ({y.shape[0]},) or "
            f"({y.shape[0]}, C) on {y.device}"
        )
    k = checked_kernel([bandwidths], kernel, alpha, x.device, caller)
    product = gram_apply([x], [y], v if v.ndim == 2 else v[:, None], *unpacked(k), backend)
    return product if v.ndim == 2 else product[:, 0]


def witness(
    points: Tensor,
    x: Tensor,
    y: Tensor,
    *,
    bandwidths: Sequence[float] | Tensor,
    x_weight: Tensor | None = None,
    y_weight: Tensor | None = None,
    kernel: str = "gaussian",
    alpha: float = 1.0,
    backend: str = "auto",
) -> Tensor:
    """Witness function f(t) = Σ_i p_i k(x_i, t) - Σ_j q_j k(y_j, t): where it is high, x has more mass than y.

    p_i = x_weight_i / Σ x_weight (1/n without weights), q likewise. The biased `mmd2` is Σ p_i f(x_i) - Σ q_j f(y_j).

    Args:
        points: (t, d) float.
        x: (n, d) float.
        y: (m, d) float.
        bandwidths: sigmas as in `mmd2`.
        x_weight: (n,) relative weights >= 0, or None for equal ones.
        y_weight: (m,) likewise.
        kernel: a name of `kernel.FAMILIES`.
        alpha: exponent of the rational quadratic.
        backend: a name of `backends.NAMES`.

    Returns:
        (t,), float32 or wider; differentiable in the rows (once) and the weights.

    Raises:
        ValueError: as `mmd2`.

    Reference:
        Gretton et al. 2012, JMLR 13, sec. 2.3.
    """
    check_rows([x], [y], "witness")
    arguments = {"bandwidths": bandwidths, "kernel": kernel, "alpha": alpha, "backend": backend}
    value = 0
    for name, rows, weight, sign in (("x", x, x_weight, 1), ("y", y, y_weight, -1)):
        if weight is None:
            share = rows.new_full(rows.shape[:1], 1 / rows.shape[0], dtype=compute_dtype(rows))
        else:
            if weight.ndim != 1:
                raise ValueError(f"witness: {name}_weight: got shape {tuple(weight.shape)}, wants ({rows.shape[0]},)")
            weight = checked_weight(name, weight, rows, 1, "witness")
            share = (weight / weight.sum()).to(compute_dtype(rows))
        value = value + sign * gram_product(points, rows, share, **arguments)
    return value
