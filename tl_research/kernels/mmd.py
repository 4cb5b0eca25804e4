"""Maximum mean discrepancy: one entry, several estimators, kernels and backends."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tl_research.kernels.arguments import check_choice, check_detach, check_rows, checked_kernel
from tl_research.kernels.backends.choice import check_backend
from tl_research.kernels.estimate import check_row_counts, estimate_mmd2
from tl_research.kernels.linear_time import linear_mmd2
from tl_research.kernels.ranks import mmd2_across_ranks
from tl_research.parallel.ranks import gather_rows, is_distributed

ESTIMATORS = ("unbiased", "biased", "linear")


def mmd2(
    x: Tensor,
    y: Tensor,
    *,
    bandwidths: Sequence[float] | Tensor,
    estimator: str = "unbiased",
    x_weight: Tensor | None = None,
    y_weight: Tensor | None = None,
    detach: str | None = None,
    kernel: str = "gaussian",
    alpha: float = 1.0,
    backend: str = "auto",
    across_ranks: bool = False,
) -> Tensor:
    """Squared maximum mean discrepancy under a sum of kernels.

    k(u, v) = Σ_b φ(||u - v||²; sigma_b), φ = exp(-r² / (2 sigma²)) when Gaussian (others: `kernel.Kernel`). With row
    shares p_i = x_weight_i / Σ x_weight and q_j likewise (1/n and 1/m without weights):

    - biased: Σ_ij p_i p_j k(x_i, x_j) + Σ_ij q_i q_j k(y_i, y_j) - 2 Σ_ij p_i q_j k(x_i, y_j). Never negative
      but for rounding.
    - unbiased: the first sum becomes Σ_{i != j} p_i p_j k(x_i, x_j) / (1 - Σ p_i²), the second likewise; without
      weights this is the U-statistic. Its mean is 0 where both sides have one distribution, so that it is
      negative about half of the time, and it is returned so.
    - linear: the mean of k(x, x') + k(y, y') - k(x, y') - k(x', y) over disjoint pairs of neighbouring rows, of the
      first 2·floor(min(n, m) / 2) rows, in O(n d). Unbiased, noisier, and without weights; rows must come shuffled.

    Weights (n, C) and (m, C) are per class: each column has its own shares, and the value is the mean of the
    classes' values, over the classes that have weight on both sides (unbiased: on at least two rows per side). Where no
    class has, it is 0. With one-hot or probability columns this is LMMD.

    No pairwise matrix is formed: memory is O((n + m) d). Exact, whatever autocast says: the features' offset is
    taken out first, and sums are in float32 at least.

    Args:
        x: (n, d) float.
        y: (m, d) float.
        bandwidths: (B,) sigmas > 0 in units of the features, or a `Ladder` of them; constants without gradient.
        estimator: `unbiased`, `biased` or `linear`.
        x_weight: (n,) or (n, C) relative weights >= 0, or None for equal ones.
        y_weight: (m,) or (m, C) likewise.
        detach: `x` or `y`: this side is a constant, its rows and its weights.
        kernel: `gaussian`, `laplacian` or `rational_quadratic`.
        alpha: exponent of the rational quadratic.
        backend: `auto`, `reference` (dense float64), `tiled` or `triton`; one that cannot run on the device of the rows
            gives way to `tiled`.
        across_ranks: x and y are this rank's share of the rows; the value and the gradient (as DDP averages it) are
            those of one process holding all of them. Every rank must call it, with the same bandwidths.

    Returns:
        Scalar in the dtype of `x`, float32 at least; differentiable in `x`, `y` and the weights, once (a second
        time raises).

    Raises:
        ValueError: unknown estimator, kernel or backend, shapes that do not fit, weights that are negative or not
            finite, or fewer rows of positive weight than the estimator needs (1, unbiased and linear 2). Values of
            weights and of a tensor of bandwidths are not read on an accelerator or under `torch.compile`: bad ones
            give NaN there.

    Reference:
        Gretton et al. 2012, JMLR 13, eq. 3 (unbiased), 5 (biased) and Lemma 14 (linear); Zhu et al. 2021 (DSAN),
        IEEE TNNLS, eq. 6-7 (per class).
    """
    caller = "mmd2"
    check_choice("estimator", estimator, ESTIMATORS, caller)
    check_backend(backend, caller)
    check_detach(detach, caller)
    if across_ranks and is_distributed():
        if estimator != "linear":
            return mmd2_across_ranks(
                x, y, bandwidths=bandwidths, estimator=estimator, x_weight=x_weight, y_weight=y_weight,
                detach=detach, kernel=kernel, alpha=alpha, backend=backend,
            )  # fmt: skip
        x, y = gather_rows(x), gather_rows(y)  # linear in the rows: every rank does all of it
    check_rows([x], [y], caller)
    made = checked_kernel([bandwidths], kernel, alpha, x.device, caller)
    if estimator != "linear":
        return estimate_mmd2(
            [x], [y], x_weight, y_weight, made, estimator=estimator, detach=detach, backend=backend, caller=caller
        )
    if x_weight is not None or y_weight is not None:
        raise ValueError(f"{caller}: x_weight and y_weight: the linear estimator takes none")
    check_row_counts(x, y, estimator, by_class=False, caller=caller)
    value = linear_mmd2(x.detach() if detach == "x" else x, y.detach() if detach == "y" else y, made)
    return value.to(torch.promote_types(x.dtype, torch.float32))
