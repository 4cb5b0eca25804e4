"""Maximum mean discrepancy of joint distributions over several layers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from tl_research.kernels.arguments import check_choice, check_detach, check_rows, checked_kernel
from tl_research.kernels.backends.choice import check_backend
from tl_research.kernels.estimate import estimate_mmd2


def joint_mmd2(
    x: Sequence[Tensor],
    y: Sequence[Tensor],
    *,
    bandwidths: Sequence,
    estimator: str = "unbiased",
    x_weight: Tensor | None = None,
    y_weight: Tensor | None = None,
    detach: str | None = None,
    kernel: str = "gaussian",
    alpha: float = 1.0,
    backend: str = "auto",
) -> Tensor:
    """Squared MMD with the product over layers of the layers' kernels: k(u, v) = Π_l Σ_b φ(||u_l - v_l||²; sigma_lb).

    It compares the joint distributions of the layers, not each layer's own.

    Args:
        x: for each layer (n, d_l) float; row i of every layer is one sample.
        y: for each layer (m, d_l) float.
        bandwidths: for each layer what `mmd2` takes.
        estimator: `unbiased` or `biased`.
        x_weight: as in `mmd2`, per-class weights included.
        y_weight: likewise.
        detach: as in `mmd2`.
        kernel: a name of `kernel.FAMILIES`, of all layers.
        alpha: exponent of the rational quadratic.
        backend: a name of `backends.NAMES`.

    Returns:
        Scalar in the dtype of the first layer of `x`, float32 at least; differentiable once in rows and weights.

    Raises:
        ValueError: as `mmd2`, and layers that do not match.

    Reference:
        Long et al. 2017 (JAN), ICML, eq. 7-9.
    """
    caller = "joint_mmd2"
    check_choice("estimator", estimator, ("unbiased", "biased"), caller)
    check_backend(backend, caller)
    check_detach(detach, caller)
    check_rows(x, y, caller)
    if len(bandwidths) != len(x):
        raise ValueError(f"{caller}: bandwidths: got {len(bandwidths)} of them for {len(x)} layers")
    made = checked_kernel(bandwidths, kernel, alpha, x[0].device, caller)
    return estimate_mmd2(
        list(x), list(y), x_weight, y_weight, made, estimator=estimator, detach=detach, backend=backend, caller=caller
    )
