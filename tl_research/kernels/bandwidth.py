"""Bandwidths of Gaussian kernels from the data."""

from __future__ import annotations

import torch
from torch import Tensor

#: Of the squared distance: identical rows give a kernel of 1 and a discrepancy of 0 rather than 0 / 0.
SMALLEST = 1e-24


def mean_squared_distance(z: Tensor) -> Tensor:
    """Mean of ||z_i - z_j||² over pairs i != j, in O(N d).

    By the identity 2 (mean ||z||² - ||mean z||²) · N / (N - 1), evaluated on centred rows, where nothing cancels.

    Args:
        z: (N, d) float, N >= 2.

    Returns:
        Scalar, float32 or wider, in squared units of `z`.

    Raises:
        ValueError: a wrong shape, or fewer than two rows.
    """
    if z.ndim != 2 or z.shape[0] < 2:
        raise ValueError(f"mean_squared_distance: got shape {tuple(z.shape)}, wants (N, d) with N >= 2")
    z = z.to(torch.promote_types(z.dtype, torch.float32))
    return 2 * (z - z.mean(dim=0)).square().sum() / (z.shape[0] - 1)


@torch.no_grad()
def bandwidth_ladder(x: Tensor, y: Tensor, *, count: int = 5, ratio: float = 2.0) -> Tensor:
    """Geometric family of bandwidths around the mean squared distance of the pooled rows.

    2 sigma_b² = ratio^(b - count // 2) · mean_squared_distance([x; y]) for b = 0 .. count - 1, so that the
    middle kernel is exp(-||u - v||² / mean squared distance).

    Args:
        x: (n, d) float.
        y: (m, d) float.
        count: number of kernels.
        ratio: of neighbouring sigma².

    Returns:
        (count,) sigmas in units of the features, ascending for ratio > 1, without gradient: the kernel does not
        learn to hide the discrepancy.

    Raises:
        ValueError: shapes that do not fit, or count or ratio that is not positive.

    Reference:
        Gretton et al. 2012, NeurIPS (kernel family); Long et al. 2015 (DAN), ICML (its use here).
    """
    if count < 1 or not ratio > 0:
        raise ValueError(f"bandwidth_ladder: got count={count} and ratio={ratio}, wants both above 0")
    middle = mean_squared_distance(torch.cat([x, y])).clamp_min(SMALLEST)
    exponent = torch.arange(count, device=middle.device, dtype=middle.dtype) - count // 2
    return (middle * ratio**exponent / 2).sqrt()
