"""One layer's kernel on tiles of pairs, in buffers that every tile uses again."""

from __future__ import annotations

import threading

import torch
from torch import Tensor

from tl_research.kernels.kernel import Kernel

_kept = threading.local()


def kept_buffer(like: Tensor, size: int, slot: tuple[int, int]) -> Tensor:
    """An uninitialised buffer; on a CPU one that the thread keeps, because fresh pages cost more than a tile's work."""
    if like.device.type != "cpu":
        return like.new_empty(size)
    buffers = _kept.__dict__.setdefault("buffers", {})
    present = buffers.get((like.dtype, *slot))
    if present is None or present.numel() < size:
        present = buffers[like.dtype, *slot] = torch.empty(size, dtype=like.dtype)
    return present


class TileLayer:
    """Value Σ_b φ and slope -d(Σ_b φ)/d(r²) for tiles (row slice, column slice) of one layer.

    Squared distances are ‖u‖² + ‖v‖² - 2 u·v, so that a tile costs one matrix product. A Gaussian whose sigma² doubles
    costs one exponential E of the widest bandwidth: the others are E², E⁴, ..., and the slope is
    gamma · (E + 2 E² + 4 E⁴ + ...). `gamma` is left to the caller as `unit`: once per row, not once per pair.
    A distance that rounding made negative is clamped where a root is taken; the exponential of one is 1 to rounding.

    The Laplacian has no slope at distance 0, and 0 is returned there. In float32 two equal rows can lie a rounding
    error apart; their slope is then large but finite, and cancels up to rounding in the gradient.

    Args:
        kernel: the kernel, of which this is layer `index`.
        rows, columns: (n, d) and (m, d) of one dtype, contiguous; one and the same tensor where pairs are symmetric.
        tile: largest (rows, columns) of a tile.
    """

    def __init__(self, kernel: Kernel, index: int, rows: Tensor, columns: Tensor, tile: tuple[int, int]):
        sigmas = kernel.bandwidths[index]
        self.family, self.alpha = kernel.family, kernel.alpha
        self.rows, self.columns = rows, columns
        self.levels = sigmas.numel()
        self.one_exponential = kernel.is_one_exponential(index)
        # per bandwidth, what the (squared) distance is multiplied by
        self.rates = (1 / sigmas if self.family == "laplacian" else 0.5 / sigmas.square()).to(rows.dtype)
        #: The slope is this times the one returned; None stands for 1.
        self.unit = self.rates[-1] if self.one_exponential else None
        self._factor = -self.unit if self.one_exponential else rows.new_ones(())
        self._row_norms = self._norms(rows, tile[0])
        self._column_norms = self._row_norms if columns is rows else self._norms(columns, tile[1])
        buffers = 3 if self.one_exponential else 5
        self._buffers = [kept_buffer(rows, tile[0] * tile[1], (index, number)) for number in range(buffers)]

    def _norms(self, rows: Tensor, size: int) -> Tensor:
        parts = [part.square().sum(dim=1) for part in rows.split(size)]
        return (parts[0] if len(parts) == 1 else torch.cat(parts)) * self._factor

    def start_rows(self, rows: slice) -> None:
        """Prepare a block of rows for its tiles."""
        self._row_slice = rows
        self._left = self.rows[rows] * (-2 * self._factor)

    def scratch(self, shape: tuple[int, int]) -> Tensor:
        """A buffer that `fill` needs no longer once it has returned."""
        return self._view(1, shape)

    def fill(self, columns: slice, slope: bool) -> tuple[Tensor, Tensor | None]:
        """Value and, if wanted, slope / unit of the current rows with `columns`; valid until the next call."""
        right = self.columns[columns]
        shape = (self._left.shape[0], right.shape[0])
        scaled = self._view(0, shape)
        torch.add(self._row_norms[self._row_slice, None], self._column_norms[columns], out=scaled)
        scaled.addmm_(self._left, right.T)
        if self.one_exponential:
            return self._doubled(scaled, slope)
        return self._summed(scaled.clamp_min_(0), slope)

    def _doubled(self, exponent: Tensor, slope: bool) -> tuple[Tensor, Tensor | None]:
        value = exponent.exp_()
        slopes = self._view(2, value.shape) if slope else None
        if self.levels == 1:
            return value, slopes.copy_(value) if slope else None
        power = value
        for level in range(1, self.levels):
            base = value if level == 1 else slopes
            if level == self.levels - 1:  # its power is needed for nothing else
                if slope:
                    torch.addcmul(base, power, power, value=2**level, out=slopes)
                value.addcmul_(power, power)
                break
            power = torch.mul(power, power, out=self._view(1, value.shape))
            if slope:
                torch.add(base, power, alpha=2**level, out=slopes)
            value.add_(power)
        return value, slopes

    def _summed(self, squared: Tensor, slope: bool) -> tuple[Tensor, Tensor | None]:
        """One bandwidth at a time. Buffers: 0 distances, 1 this bandwidth, 2 slope, 3 value, 4 another scratch."""
        if self.family == "laplacian":
            squared.sqrt_()
        value, part = self._view(3, squared.shape).zero_(), self._view(1, squared.shape)
        slopes = self._view(2, squared.shape).zero_() if slope else None
        for rate in self.rates:
            if self.family == "rational_quadratic":
                base = torch.mul(squared, rate / self.alpha, out=self._view(4, squared.shape)).add_(1)
                torch.pow(base, -self.alpha, out=part)
            else:
                torch.mul(squared, -rate, out=part).exp_()
            value.add_(part)
            if slope:
                if self.family == "rational_quadratic":
                    part.div_(base)
                slopes.add_(part.mul_(rate))
        if slope and self.family == "laplacian":
            slopes.div_(squared).mul_(0.5).masked_fill_(squared == 0, 0)
        return value, slopes

    def _view(self, buffer: int, shape: tuple[int, int]) -> Tensor:
        return self._buffers[buffer][: shape[0] * shape[1]].view(shape)
