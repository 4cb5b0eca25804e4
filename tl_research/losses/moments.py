"""Distances of the moments of two samples: means, central moments per feature, moments across features."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.losses.sides import checked_sides


def mean_discrepancy(source: Tensor, target: Tensor) -> Tensor:
    """Distance of the means: ||mean_S - mean_T||_2, in units of the features.

    Its expectation for two samples of one distribution of covariance C is not 0 but about sqrt(tr C (1/n + 1/m)).
    In float32 or wider whatever autocast says.

    Args:
        source: (n, d) float, n >= 1.
        target: (m, d) float, m >= 1.

    Returns:
        Scalar with a gradient to both sides; the gradient is 0 where the means are equal.

    Raises:
        ValueError: shapes that do not fit, or a side without rows.

    Reference:
        Tzeng et al. 2014, "Deep Domain Confusion", eq. 1, with features as the representation.
    """
    source, target = checked_sides("mean_discrepancy", source, target)
    return torch.linalg.vector_norm(source.mean(dim=0) - target.mean(dim=0))


def cmd(source: Tensor, target: Tensor, *, moments: int = 5, span: float = 1.0) -> Tensor:
    """Central moment discrepancy of features that lie in an interval of length `span`.

    ||mean_S - mean_T||_2 / span  +  sum_{k=2..K} ||c_k(S) - c_k(T)||_2 / span^k, with c_k the k-th central moment of
    each feature, mean (x - mean)^k. In float32 or wider whatever autocast says.

    Args:
        source: (n, d) float, n >= 1.
        target: (m, d) float, m >= 1.
        moments: K >= 1.
        span: length of the interval, > 0.

    Returns:
        Scalar without unit, with a gradient to both sides.

    Raises:
        ValueError: shapes that do not fit, a side without rows, or K or span out of bounds.

    Reference:
        Zellinger et al. 2017, ICLR, "Central Moment Discrepancy", definition 2.
    """
    source, target = checked_sides("cmd", source, target)
    if moments < 1 or span <= 0:
        raise ValueError(f"cmd: got moments={moments} and span={span}, wants at least 1 and above 0")
    means = source.mean(dim=0), target.mean(dim=0)
    total = torch.linalg.vector_norm(means[0] - means[1]) / span
    centred = (source - means[0]) / span, (target - means[1]) / span
    powers = centred
    for _ in range(moments - 1):
        powers = powers[0] * centred[0], powers[1] * centred[1]
        total = total + torch.linalg.vector_norm(powers[0].mean(dim=0) - powers[1].mean(dim=0))
    return total


def homm(source: Tensor, target: Tensor, *, order: int = 3, places: Tensor | None = None) -> Tensor:
    """Mean squared difference of the moment tensors of an order: ||M_S - M_T||² / d^p.

    M = mean_i x_i^{(x) p} is the raw moment, as in the paper (its public code centres the rows first), and has d^p
    entries. All of them are compared without being made: the inner product of two such tensors is mean_ij (x_i·y_j)^p,
    so that time is O((n + m)² d). With `places`, only the sampled entries are compared, in O((n + m) p N) time and
    memory; over uniform places the expectation is the value of all.
    In float32 or wider whatever autocast says.

    Args:
        source: (n, d) float, n >= 1.
        target: (m, d) float, m >= 1.
        order: p >= 1.
        places: (N, p) int64, features whose product is a sampled entry; None: all entries.

    Returns:
        Scalar in units of the features to the power of 2 p, with a gradient to both sides.

    Raises:
        ValueError: shapes that do not fit, a side without rows, or an order below 1.

    Reference:
        Chen et al. 2020, AAAI, "HoMM: Higher-order Moment Matching", eq. 6 (tensors) and 9 (sampling).
    """
    source, target = checked_sides("homm", source, target)
    if order < 1 or (places is not None and (places.ndim != 2 or places.shape[1] != order)):
        shape = None if places is None else tuple(places.shape)
        raise ValueError(f"homm: got order {order} and places {shape}, wants 1 or more and (N, order)")
    if places is not None:
        gap = _sampled_moments(source, places) - _sampled_moments(target, places)
        return gap.square().mean()
    with torch.autocast(source.device.type, enabled=False):
        d = source.shape[1]
        within = _inner(source, source, order) + _inner(target, target, order)
        return (within - 2 * _inner(source, target, order)) / d**order


def _sampled_moments(rows: Tensor, places: Tensor) -> Tensor:
    product = rows[:, places[:, 0]]
    for position in range(1, places.shape[1]):
        product = product * rows[:, places[:, position]]
    return product.mean(dim=0)


def _inner(x: Tensor, y: Tensor, order: int) -> Tensor:
    """Inner product of the moment tensors of two samples."""
    return (x @ y.T).pow(order).mean()
