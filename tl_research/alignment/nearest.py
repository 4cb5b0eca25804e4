"""Labels of the nearest row, in blocks."""

from __future__ import annotations

import torch
from torch import Tensor

#: Distances held at once.
BLOCK_ENTRIES = 2**24


def nearest_label(rows: Tensor, reference: Tensor, label: Tensor) -> Tensor:
    """Label of the nearest reference row (Euclidean; the first of equal ones).

    Args:
        rows: (m, k) float.
        reference: (n, k) float.
        label: (n,) of the reference rows.

    Returns:
        (m,) labels.
    """
    centre = reference.mean(dim=0)
    reference = reference - centre
    half_square = reference.square().sum(dim=1) / 2
    step = max(1, BLOCK_ENTRIES // len(reference))
    nearest = [
        torch.addmm(half_square, block - centre, reference.T, alpha=-1).argmin(dim=1) for block in rows.split(step)
    ]
    return label[torch.cat(nearest)]
