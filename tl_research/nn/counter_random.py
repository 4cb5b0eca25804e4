"""Random numbers that are a pure function of counters: the same on every device, rank and resumed run."""

from __future__ import annotations

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


def _mixed(state: Tensor) -> Tensor:
    state = (state ^ _shifted(state, 30)) * _FIRST
    state = (state ^ _shifted(state, 27)) * _SECOND
    return state ^ _shifted(state, 31)


def _shifted(state: Tensor, bits: int) -> Tensor:
    """Shift to the right and fill with zeros, as of an unsigned number."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)
