"""The kernel families: functions of a squared distance, with their slopes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FAMILIES = ("gaussian", "laplacian", "rational_quadratic")


@dataclass(frozen=True)
class Kernel:
    """k(u, v) = Π_l Σ_b φ(||u_l - v_l||²; sigma_lb), a product over layers of sums over bandwidths.

    gaussian: φ = exp(-r² / (2 sigma²)). laplacian: φ = exp(-r / sigma), of the Euclidean distance r.
    rational_quadratic: φ = (1 + r² / (2 alpha sigma²))^-alpha. Each φ is 1 at distance 0.

    Fields:
        family: one of `FAMILIES`.
        bandwidths: for each layer the sigmas (B_l,), float64, on the device of the rows.
        doubling: for each layer, whether sigma² doubles from each bandwidth to the next, so that the Gaussian of
            one is the square of the next and one exponential gives all. Known without reading the device.
        alpha: exponent of the rational quadratic.
    """

    family: str
    bandwidths: tuple[Tensor, ...]
    doubling: tuple[bool, ...]
    alpha: float = 1.0

    @property
    def at_zero(self) -> int:
        """k(u, u): the product of the numbers of bandwidths."""
        value = 1
        for sigmas in self.bandwidths:
            value *= sigmas.numel()
        return value

    def is_one_exponential(self, layer: int) -> bool:
        """Whether the layer's kernels are powers of one Gaussian."""
        return self.family == "gaussian" and (self.doubling[layer] or self.bandwidths[layer].numel() == 1)

    def layer(self, squared: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Return Σ_b φ and its slope -d(Σ_b φ)/d(r²) at squared distances; the plain form, one bandwidth at a time.

        The Laplacian has no slope at distance 0; 0 is returned there, so that equal rows do not push each other.
        """
        value, slope = torch.zeros_like(squared), torch.zeros_like(squared)
        for sigma in self.bandwidths[layer].to(squared.dtype):
            if self.family == "gaussian":
                part = torch.exp(-squared / (2 * sigma**2))
                part_slope = part / (2 * sigma**2)
            elif self.family == "laplacian":
                distance = squared.clamp_min(0).sqrt()
                part = torch.exp(-distance / sigma)
                part_slope = torch.where(distance > 0, part / (2 * sigma * distance), 0)
            else:
                base = 1 + squared / (2 * self.alpha * sigma**2)
                part = base**-self.alpha
                part_slope = part / base / (2 * sigma**2)
            value, slope = value + part, slope + part_slope
        return value, slope
