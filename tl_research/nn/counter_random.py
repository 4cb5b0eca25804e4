"""Random numbers that are a pure function of counters: the same on every device, rank and resumed run."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_GOLDEN, _FIRST, _SECOND = -0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15


def counted(seed: int, *counters: Tensor | int) -> Tensor:
    """Return int64 numbers below 2^62 that look random, for counters that are broadcast together.

    Every counter in turn is mixed in by the finaliser of splitmix64; equal counters give equal numbers.

    Args:
        seed: of the stream.
        counters: int64 tensors or numbers; at least one is a tensor.

    Reference:
        Steele, Lea & Flood 2014, OOPSLA, "Fast Splittable Pseudorandom Number Generators", figure 16.
    """
    device = next(counter.device for counter in counters if isinstance(counter, Tensor))
    state = torch.tensor(seed, dtype=torch.int64, device=device)
    for counter in counters:
        state = _mixed((state ^ counter) + _GOLDEN)
    return state & ((1 << 62) - 1)


def uniform_rows(seed: int, step: int, stream: int, index: Tensor, columns: int) -> Tensor:
    """Return numbers (n, columns) between 0 and 1, float64, that depend on seed, step, stream, row and column alone.

    Args:
        seed: of the run.
        step: of the optimiser.
        stream: tells several draws of one step apart.
        index: (n,) int64 row numbers.
        columns: how many numbers per row.
    """
    column = torch.arange(columns, device=index.device)
    return (counted(seed, step, stream, index[:, None], column).double() + 0.5) / 2.0**62


def normal_of_uniform(uniform: Tensor) -> Tensor:
    """Return standard normal numbers of numbers between 0 and 1, by the inverse of the distribution function."""
    # The numbers next to 0 and 1 round to them, where the inverse is not finite.
    edge = 2.0**-52
    return math.sqrt(2) * torch.erfinv((2 * uniform - 1).clamp(edge - 1, 1 - edge))


def _mixed(state: Tensor) -> Tensor:
    state = (state ^ _shifted(state, 30)) * _FIRST
    state = (state ^ _shifted(state, 27)) * _SECOND
    return state ^ _shifted(state, 31)


def _shifted(state: Tensor, bits: int) -> Tensor:
    """Shift to the right and fill with zeros, as of an unsigned number."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)
