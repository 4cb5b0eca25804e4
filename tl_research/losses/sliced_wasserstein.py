"""Sliced Wasserstein distance: optimal transport of projections onto lines."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.losses.sides import checked_sides


def sliced_wasserstein(source: Tensor, target: Tensor, directions: Tensor) -> Tensor:
    """Mean over directions θ of W_2²(θ·source, θ·target), exact on each line also for n != m.

    W_2² on a line is the integral over u in [0, 1] of (q_S(u) - q_T(u))², of the two step functions of quantiles.
    In float32 or wider whatever autocast says. O((n + m) (d + log(n + m))) per direction.

    Args:
        source: (n, d) float, n >= 1.
        target: (m, d) float, m >= 1.
        directions: (L, d) float of length 1 each.

    Returns:
        Scalar in squared units of the features, with a gradient to both sides.

    Raises:
        ValueError: shapes that do not fit, or a side without rows.

    Reference:
        Bonneel et al. 2015, J. Math. Imaging Vis. 51, eq. 10, for p = 2.
    """
    source, target = checked_sides("sliced_wasserstein", source, target)
    if directions.ndim != 2 or len(directions) == 0 or directions.shape[1] != source.shape[1]:
        raise ValueError(f"sliced_wasserstein: got directions {tuple(directions.shape)}, wants (L, {source.shape[1]})")
    with torch.autocast(source.device.type, enabled=False):
        lines = directions.to(source).T
        x, y = ((rows @ lines).sort(dim=0).values for rows in (source, target))
    if len(x) == len(y):
        return (x - y).square().mean()
    place_x, place_y, share = _common_steps(len(x), len(y), x.device)
    return ((x[place_x] - y[place_y]).square() * share.to(x.dtype)[:, None]).sum(dim=0).mean()


def unit_directions(count: int, width: int, generator: torch.Generator) -> Tensor:
    """Return directions (count, width) uniform on the unit sphere, float32, on the device of the generator."""
    drawn = torch.randn(count, width, generator=generator, device=generator.device)
    return drawn / torch.linalg.vector_norm(drawn, dim=1, keepdim=True).clamp_min(torch.finfo(drawn.dtype).tiny)


def _common_steps(n: int, m: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Row numbers of both sides and the length, on each piece of [0, 1] where both quantile functions are constant."""
    # In units of 1 / (n m), so that no rounding decides which row a piece belongs to.
    ends = torch.cat([torch.arange(1, n + 1, device=device) * m, torch.arange(1, m + 1, device=device) * n]).unique()
    lengths = ends.diff(prepend=ends.new_zeros(1))
    return (ends - 1) // m, (ends - 1) // n, lengths.double() / (n * m)
