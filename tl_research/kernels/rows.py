"""Two sides of rows as one centred block, in the precision that a backend takes."""

from __future__ import annotations

import torch
from torch import Tensor


def compute_dtype(*tensors: Tensor) -> torch.dtype:
    """Float32, or float64 where any of the tensors is."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype


def pooled(x: Tensor, y: Tensor, *, half: bool) -> Tensor:
    """Return [x; y] minus its mean row: distances do not change, but their expansion loses no digits to an offset.

    Args:
        x: (n, d) float.
        y: (m, d) float.
        half: whether half-precision rows are rounded back to their type, else they stay widened.

    Returns:
        (n + m, d), the one allocation: in the half type of both sides where `half`, else float32 or float64.
    """
    wide = compute_dtype(x, y)
    centre = (x.sum(dim=0, dtype=wide) + y.sum(dim=0, dtype=wide)) / (x.shape[0] + y.shape[0])
    narrow = half and x.dtype == y.dtype and x.dtype in (torch.bfloat16, torch.float16)
    z = x.new_empty((x.shape[0] + y.shape[0], x.shape[1]), dtype=x.dtype if narrow else wide)
    for side, place in ((x, z[: x.shape[0]]), (y, z[x.shape[0] :])):
        torch.sub(side, centre, out=place)
    return z
