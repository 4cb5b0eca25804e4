"""The ground cost of joint distribution optimal transport."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.losses.sides import checked_sides


def joint_cost(
    source: Tensor, label: Tensor, target: Tensor, target_logits: Tensor, *, feature_weight: float, label_weight: float
) -> Tensor:
    """Cost c_ij = α ||f_i - g_j||² + λ CE(y_i, logits_j) of giving source row i's label to target row j.

    In float32 or wider whatever autocast says.

    Args:
        source: (n, d) float f.
        label: (n,) int64 y.
        target: (m, d) float g.
        target_logits: (m, classes) float.
        feature_weight: α >= 0, per squared unit of the features.
        label_weight: λ >= 0, per nat.

    Returns:
        (n, m) with a gradient to both sides' features and to the logits.

    Raises:
        ValueError: shapes that do not fit, a side without rows, or a negative weight.

    Reference:
        Damodaran et al. 2018, ECCV (DeepJDOT), eq. 5.
    """
    source, target = checked_sides("joint_cost", source, target)
    if len(label) != len(source) or len(target_logits) != len(target) or min(feature_weight, label_weight) < 0:
        raise ValueError(
            f"joint_cost: got {len(label)} labels, {len(target_logits)} rows of logits and the weights "
            f"{feature_weight} and {label_weight}, wants {len(source)}, {len(target)} and 0 or more"
        )
    with torch.autocast(source.device.type, enabled=False):
        centre = target.detach().mean(dim=0)
        f, g = source - centre, target - centre
        square = (f.square().sum(dim=1)[:, None] + g.square().sum(dim=1) - 2 * f @ g.T).clamp_min(0)
        log_share = target_logits.to(source.dtype).log_softmax(dim=1)
        return feature_weight * square - label_weight * log_share[:, label].T
