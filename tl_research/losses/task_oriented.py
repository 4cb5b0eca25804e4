"""The part of a row's features that its class is read from."""

from __future__ import annotations

import torch
from torch import Tensor


def task_oriented(features: Tensor, slope: Tensor) -> Tensor:
    """Features times the slope of the class's logit, at the length they had: s_i w_i ⊙ f_i, s_i = ‖f_i‖ / ‖w_i ⊙ f_i‖.

    Args:
        features: f (n, d) float.
        slope: w (n, d) float, the gradient of the row's class logit by its features; taken as constant.

    Returns:
        (n, d), rows as long as those of `features`; a row whose product is 0 stays 0.

    Raises:
        ValueError: shapes that differ.

    Reference:
        Wei et al. 2021, NeurIPS, section 3.2 (task-oriented feature decomposition).
    """
    if features.ndim != 2 or features.shape != slope.shape:
        raise ValueError(f"task_oriented: got {tuple(features.shape)} and {tuple(slope.shape)}, wants (n, d) twice")
    product = slope.detach() * features
    tiny = torch.finfo(features.dtype).tiny
    # Under the root: it has no gradient at 0.
    of_features, of_product = (x.square().sum(dim=1, keepdim=True).clamp_min(tiny) for x in (features, product))
    return product * (of_features / of_product).sqrt()
