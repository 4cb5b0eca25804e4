"""Maximum mean discrepancy: one entry, several backends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tl_research.errors import nearest
from tl_research.kernels.dense import mmd2_reference

ESTIMATORS = ("unbiased", "biased")
#: (x, y, bandwidths, estimator, x_weight, y_weight) -> scalar; arguments are checked and autocast is off.
#: `bandwidths` is a (B,) tensor on the device of `x`.
BACKENDS: dict[str, Callable[..., Tensor]] = {"reference": mmd2_reference}


def mmd2(
    x: Tensor,
    y: Tensor,
    *,
    bandwidths: Sequence[float] | Tensor,
    estimator: str = "unbiased",
    x_weight: Tensor | None = None,
    y_weight: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Squared maximum mean discrepancy under a sum of Gaussian kernels.

    k(u, v) = Σ_b exp(-||u - v||² / (2 sigma_b²)). With row shares p_i = x_weight_i / Σ x_weight and q_j likewise
    (1/n and 1/m without weights):

    - biased: Σ_ij p_i p_j k(x_i, x_j) + Σ_ij q_i q_j k(y_i, y_j) - 2 Σ_ij p_i q_j k(x_i, y_j). Never negative
      but for rounding.
    - unbiased: the first sum becomes Σ_{i != j} p_i p_j k(x_i, x_j) / (1 - Σ p_i²), the second likewise; without
      weights this is the U-statistic. Its mean is 0 where both sides have one distribution, so that it is
      negative about half of the time, and it is returned so.

    Exact, whatever autocast says: the features' offset is taken out first and half precision is widened.

    Args:
        x: (n, d) float.
        y: (m, d) float.
        bandwidths: (B,) sigmas > 0 in units of the features; constants without gradient.
        estimator: `unbiased` or `biased`.
        x_weight: (n,) relative weights >= 0, or None for equal ones.
        y_weight: (m,) likewise.
        backend: `auto`, or a name of `BACKENDS`.

    Returns:
        Scalar in the dtype of `x`, float32 at least; differentiable in `x`, `y` and the weights.

    Raises:
        ValueError: unknown estimator or backend, shapes that do not fit, weights that are negative or not
            finite, or fewer rows of positive weight than the estimator needs (1, unbiased 2).

    Reference:
        Gretton et al. 2012, JMLR 13, eq. 3 (unbiased) and 5 (biased).
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"mmd2: estimator: got {estimator!r}{nearest(estimator, ESTIMATORS)}")
    if backend != "auto" and backend not in BACKENDS:
        raise ValueError(f"mmd2: backend: got {backend!r}{nearest(backend, ['auto', *BACKENDS])}")
    fits = x.ndim == 2 and y.ndim == 2 and x.shape[1] == y.shape[1] and x.device == y.device
    if not fits or not (x.is_floating_point() and y.is_floating_point()):
        got = " and ".join(f"{side.dtype} {tuple(side.shape)} on {side.device}" for side in (x, y))
        raise ValueError(f"mmd2: got {got}, wants float (n, d) and (m, d) on one device")
    _check_side("x", x, x_weight, estimator)
    _check_side("y", y, y_weight, estimator)
    run = BACKENDS["reference" if backend == "auto" else backend]
    with torch.autocast(x.device.type, enabled=False):
        value = run(x, y, _checked_bandwidths(bandwidths, x), estimator, x_weight, y_weight)
    return value.to(torch.promote_types(x.dtype, torch.float32))


def _checked_bandwidths(bandwidths: Sequence[float] | Tensor, x: Tensor) -> Tensor:
    if not isinstance(bandwidths, Tensor):
        # numbers are checked here; a tensor is not, because reading it would make the device wait
        if not all(sigma > 0 for sigma in bandwidths):
            raise ValueError(f"mmd2: bandwidths: got {list(bandwidths)}, wants numbers above 0")
        bandwidths = torch.tensor(list(bandwidths), dtype=torch.float64)
    if bandwidths.ndim != 1 or bandwidths.numel() == 0:
        raise ValueError(f"mmd2: bandwidths: got shape {tuple(bandwidths.shape)}, wants one or more sigmas")
    return bandwidths.detach().to(x.device)


def _check_side(name: str, rows: Tensor, weight: Tensor | None, estimator: str) -> None:
    needed = 2 if estimator == "unbiased" else 1
    if rows.shape[0] < needed:
        raise ValueError(f"mmd2: {name} has {rows.shape[0]} row(s); the {estimator} estimator needs {needed}")
    if weight is None:
        return
    if weight.shape != rows.shape[:1]:
        raise ValueError(f"mmd2: {name}_weight: got shape {tuple(weight.shape)} for {rows.shape[0]} rows")
    if not bool(((weight >= 0) & weight.isfinite()).all()):
        raise ValueError(f"mmd2: {name}_weight: got a negative weight or one that is not finite")
    positive = int((weight > 0).sum())
    if positive < needed:
        raise ValueError(
            f"mmd2: {name}_weight: {positive} positive weight(s); the {estimator} estimator needs {needed}"
        )
