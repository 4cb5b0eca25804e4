"""Norms of features, made larger step by step."""

from __future__ import annotations

import torch
from torch import Tensor


def stepwise_norm(features: Tensor, *, step: float = 1.0) -> Tensor:
    """Mean over rows of (||f_i|| - (||f_i|| held constant + step))².

    The value is always step²; the gradient makes each row's norm grow, as fast for every row:
    -2 step f_i / (n ||f_i||). In float32 or wider whatever autocast says.

    Args:
        features: (n, d) float, n >= 1.
        step: Δr >= 0, in units of the features.

    Returns:
        Scalar; a row of norm 0 has the gradient 0.

    Raises:
        ValueError: no matrix with rows, or a negative step.

    Reference:
        Xu et al. 2019, ICCV, "Larger Norm More Transferable", eq. 7 (SAFN).
    """
    if features.ndim != 2 or len(features) == 0 or step < 0:
        raise ValueError(f"stepwise_norm: got {tuple(features.shape)} and step {step}, wants (n, d) and 0 or more")
    norm = torch.linalg.vector_norm(features.to(torch.promote_types(features.dtype, torch.float32)), dim=1)
    return (norm - (norm.detach() + step)).square().mean()
