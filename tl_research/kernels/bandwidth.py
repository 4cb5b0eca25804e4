"""Bandwidths of kernels from the data."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tl_research.nn.rounding import relative_rounding
from tl_research.parallel.ranks import row_counts, sum_across_ranks

#: Of 2 sigma² where all rows are 0: a kernel of 1 and a discrepancy of 0 rather than 0 / 0.
SMALLEST = 1e-36


class Ladder(NamedTuple):
    """Bandwidths of a sum of kernels.

    Fields:
        sigmas: (B,) in units of the features, without gradient.
        doubling: whether sigma² doubles from each to the next, known without reading the device: one exponential
            then gives all Gaussians by squaring.
        checked: whether every sigma is above 0 or NaN, as those of `bandwidth_ladder` are; else a kernel looks.
    """

    sigmas: Tensor
    doubling: bool
    checked: bool = False


def mean_squared_distance(z: Tensor, weight: Tensor | None = None, *, across_ranks: bool = False) -> Tensor:
    """Mean of ||z_i - z_j||² over pairs i != j, in O(N d).

    By the identity 2 Σ_i p_i ||z_i - μ||² / (1 - Σ_i p_i²) with shares p_i = w_i / Σ w and μ = Σ_i p_i z_i, which is
    2 (mean ||z||² - ||mean z||²) · N / (N - 1) without weights; evaluated on centred rows, where nothing cancels.

    Args:
        z: (N, d) float, N >= 2.
        weight: (N,) relative weights >= 0, two of them positive, else the result is nan; None for equal ones.
        across_ranks: whether the pairs are those of the rows of all ranks; then N counts them all, this rank may
            have none, every rank must call it (and run its backward), and gradients are those of `gather_rows`.

    Returns:
        Scalar, float32 or wider, in squared units of `z`.

    Raises:
        ValueError: a wrong shape, or fewer than two rows.
    """
    rows = z.shape[0] if z.ndim == 2 else 0
    if across_ranks and z.ndim == 2:
        rows = sum(row_counts(z)[0])
    if rows < 2:
        raise ValueError(f"mean_squared_distance: got shape {tuple(z.shape)}, wants (N, d) with N >= 2")
    if weight is not None and weight.shape != z.shape[:1]:
        raise ValueError(f"mean_squared_distance: weight: got shape {tuple(weight.shape)} for {z.shape[0]} rows")
    return _mean_squared(z, weight, across_ranks=across_ranks)[0]


def _mean_squared(z: Tensor, weight: Tensor | None, *, across_ranks: bool) -> tuple[Tensor, Tensor]:
    """The mean squared distance, and what is below the rounding of such rows: (2 · steps · eps · ||mean||)²."""
    rounding = 2 * relative_rounding(z.dtype)
    z = z.to(torch.promote_types(z.dtype, torch.float32))
    weight = torch.ones_like(z[:, 0]) if weight is None else weight.to(z.dtype)
    total = sum_across_ranks if across_ranks else _itself
    moments = total(torch.cat([weight @ z, weight.sum()[None], weight.square().sum()[None]]))
    mean, mass, squares = moments[:-2] / moments[-2], moments[-2], moments[-1]
    spread = total(weight @ (z - mean).square().sum(dim=1))
    return 2 * spread / mass / (1 - squares / mass.square()), (rounding * mean.detach()).square().sum()


@torch.no_grad()
def median_distance(x: Tensor, y: Tensor, *, rows: int = 1000, generator: torch.Generator) -> Tensor:
    """Median of ||z_i - z_j|| over the pairs i < j of a sub-sample of the pooled rows z = [x; y].

    Args:
        x: (n, d) float.
        y: (m, d) float, n + m >= 2.
        rows: size of the sub-sample, drawn without replacement; all rows are taken where there are no more.
        generator: of the draw.

    Returns:
        Scalar, float32 or wider, in units of the features; the mean of the two middle ones of an even number.

    Raises:
        ValueError: fewer than two rows.

    Reference:
        Gretton et al. 2012, JMLR 13, section 8 (the median heuristic).
    """
    z = torch.cat([x, y])
    if z.ndim != 2 or min(z.shape[0], rows) < 2:
        raise ValueError(f"median_distance: got shape {tuple(z.shape)} and rows={rows}, wants two rows or more")
    if z.shape[0] > rows:
        z = z[torch.randperm(z.shape[0], generator=generator, device=generator.device)[:rows].to(z.device)]
    wide = z.double() - z.double().mean(dim=0)
    norm = wide.square().sum(dim=1)
    squared = norm[:, None] + norm - 2 * wide @ wide.T
    i, j = torch.triu_indices(*squared.shape, offset=1, device=z.device)
    ordered = squared[i, j].sort().values.clamp_min(0)
    middle = ordered[[(len(ordered) - 1) // 2, len(ordered) // 2]].sqrt().mean()
    return middle.to(torch.promote_types(z.dtype, torch.float32))


@torch.no_grad()
def bandwidth_ladder(
    x: Tensor, y: Tensor, *, count: int = 5, ratio: float = 2.0, mean_squared: Tensor | None = None
) -> Ladder:
    """Geometric family of bandwidths around the mean squared distance of the pooled rows.

    2 sigma_b² = ratio^(b - count // 2) · mean_squared_distance([x; y]) for b = 0 .. count - 1, so that the
    middle kernel is exp(-||u - v||² / mean squared distance). A mean squared distance that is no more than the rounding
    of the rows (equal rows) counts as that rounding.

    Args:
        x: (n, d) float.
        y: (m, d) float.
        count: number of kernels.
        ratio: of neighbouring sigma².
        mean_squared: scalar to take instead of that of these rows, such as a moving average.

    Returns:
        (count,) sigmas in units of the features, ascending for ratio > 1, without gradient: the kernel does not
        learn to hide the discrepancy.

    Raises:
        ValueError: shapes that do not fit, or count or ratio that is not positive.

    Reference:
        Gretton et al. 2012, NeurIPS (kernel family); Long et al. 2015 (DAN), ICML (its use here).
    """
    if mean_squared is None:
        mean_squared = _above_rounding(torch.cat([x, y]))
    return _around(mean_squared, count, ratio)


class MovingBandwidth(nn.Module):
    """`bandwidth_ladder` around an exponential moving average of the mean squared distance.

    After t batches of values v_s the average is Σ_s decay^(t - s) v_s / Σ_s decay^(t - s): the first batch sets it, and
    its start leaves no bias. It is kept in the state dict; under `eval()` it is used and not updated.

    Args:
        count, ratio: as of `bandwidth_ladder`.
        decay: weight of a batch relative to the next, 0 (the last batch alone) to below 1.
    """

    mean_squared: Tensor
    updates: Tensor

    def __init__(self, count: int = 5, ratio: float = 2.0, decay: float = 0.99):
        super().__init__()
        _check_ladder(count, ratio)
        if not 0 <= decay < 1:
            raise ValueError(f"MovingBandwidth: decay: got {decay}, wants 0 to below 1")
        self.count, self.ratio, self.decay = count, ratio, decay
        self.register_buffer("mean_squared", torch.zeros(()))
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def forward(self, x: Tensor, y: Tensor, *, across_ranks: bool = False) -> Ladder:
        """Take in the rows of a batch, x (n, d) and y (m, d), and return the ladder (before any update: of them)."""
        batch = _above_rounding(torch.cat([x, y]), across_ranks=across_ranks).to(self.mean_squared.dtype)
        if self.training:
            self.updates += 1
            # the share of the newest batch, in float64 so that the first one's is 1
            share = (1 - self.decay) / (1 - self.decay ** self.updates.double())
            self.mean_squared.lerp_(batch, share.to(batch.dtype))
        return _around(torch.where(self.updates > 0, self.mean_squared, batch), self.count, self.ratio)


def _above_rounding(z: Tensor, *, across_ranks: bool = False) -> Tensor:
    # Rows that are equal up to rounding have a kernel of 1, not a bandwidth of the size of their noise.
    if not across_ranks and (z.ndim != 2 or len(z) < 2):
        return mean_squared_distance(z)  # says what is wrong
    value, rounding = _mean_squared(z, None, across_ranks=across_ranks)
    return torch.maximum(value, rounding)


def _around(mean_squared: Tensor, count: int, ratio: float) -> Ladder:
    _check_ladder(count, ratio)
    middle = mean_squared.clamp_min(SMALLEST)
    exponent = torch.arange(count, device=middle.device, dtype=middle.dtype) - count // 2
    return Ladder((middle * ratio**exponent / 2).clamp_min(SMALLEST).sqrt(), ratio == 2.0, checked=True)


def _check_ladder(count: int, ratio: float) -> None:
    if count < 1 or not ratio > 0:
        raise ValueError(f"bandwidth_ladder: got count={count} and ratio={ratio}, wants both above 0")


def _itself(tensor: Tensor) -> Tensor:
    return tensor
