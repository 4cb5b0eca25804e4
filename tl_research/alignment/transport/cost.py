"""The ground cost and its unit."""

from __future__ import annotations

from torch import Tensor

#: Entries from which a median is taken; torch.median sorts, and more say nothing new.
MEDIAN_ENTRIES = 1_000_000


def squared_euclidean(x: Tensor, y: Tensor) -> Tensor:
    """Return c_ij = |x_i - y_j|^2 >= 0.

    Args:
        x: (n, d) rows, any float dtype.
        y: (m, d) rows, same dtype and device.

    Returns:
        (n, m) float64. Rows are centred before the quadratic expansion, so that a common offset costs no digits.
    """
    centre = y.double().mean(dim=0)
    x, y = x.double() - centre, y.double() - centre
    # in place: for matrices of this size new memory costs more than arithmetic
    cost = (x * -2.0) @ y.T
    return cost.add_(x.square().sum(dim=1)[:, None]).add_(y.square().sum(dim=1)).clamp_min_(0)


def unit_of(cost: Tensor, kind: str) -> float:
    """Return what the regularisation is relative to: the `max`, `median` or `mean` cost, or 1 (`none`).

    The median of a large matrix is that of evenly spaced entries. Where it is 0 (most rows are equal) the unit is the
    mean, and 1 where that is 0 too.
    """
    if kind == "none":
        return 1.0
    if kind == "median":
        entries = cost.reshape(-1)
        # An odd stride: one that shares a factor with the row length would read few columns only.
        stride = max(1, entries.numel() // MEDIAN_ENTRIES) | 1
        unit = float(entries[::stride].median())
        if not unit > 0:
            unit = float(cost.mean())
    else:
        unit = float(cost.max() if kind == "max" else cost.mean())
    return unit if unit > 0 else 1.0
