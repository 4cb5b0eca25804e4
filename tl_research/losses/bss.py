"""Batch spectral shrinkage."""

from __future__ import annotations

import torch
from torch import Tensor


def bss(features: Tensor, *, k: int = 1) -> Tensor:
    """Sum of the k smallest squared singular values of a batch of features: sum_{i=1..k} sigma_{-i}².

    Computed in float32 or wider whatever autocast says.

    Args:
        features: (n, d) float, with min(n, d) >= k.
        k: how many.

    Returns:
        Scalar with a gradient.

    Raises:
        ValueError: no matrix, or fewer singular values than k.

    Reference:
        Chen et al. 2019, NeurIPS, "Catastrophic Forgetting Meets Negative Transfer", eq. 4.
    """
    if features.ndim != 2 or not 1 <= k <= min(features.shape):
        raise ValueError(f"bss: got {tuple(features.shape)} and k={k}, wants (n, d) with min(n, d) >= k >= 1")
    with torch.autocast(features.device.type, enabled=False):
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        return torch.linalg.svdvals(features)[-k:].square().sum()
