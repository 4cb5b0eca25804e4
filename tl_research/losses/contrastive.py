"""Contrastive cross-entropy with labels: keys of a query's class against all keys."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tl_research.nn.rounding import unit_rows


def supervised_contrastive(
    query: Tensor, label: Tensor, keys: Tensor, key_label: Tensor, *, temperature: float = 0.07
) -> Tensor:
    """Mean over queries and their positive keys of the contrastive cross-entropy.

    mean_i -1/|P_i| sum_{k in P_i} log( exp(q_i·k / T) / sum_{all k'} exp(q_i·k' / T) ), with P_i the keys of label
    y_i and q, k scaled to length 1. With the projected row as the query it is Bi-tuning's L_CCL; with the classifier's
    weight of class y_i as the query, its L_CCE. In float32 or wider.

    Args:
        query: (n, d) float.
        label: (n,) int64.
        keys: (m, d) float; a gradient flows to them where they have one.
        key_label: (m,) int64; -1 marks an empty place, which is left out.
        temperature: T > 0.

    Returns:
        Scalar, in nats. A query without a positive key counts 0.

    Raises:
        ValueError: shapes that do not fit, no key at all, or a temperature of 0 or less.

    Reference:
        Zhong et al. 2020, "Bi-tuning of Pre-trained Representations", eq. 3 (CCE) and 4 (CCL).
    """
    if query.ndim != 2 or keys.ndim != 2 or query.shape[1] != keys.shape[1]:
        raise ValueError(f"supervised_contrastive: got {tuple(query.shape)} and {tuple(keys.shape)}, wants equal d")
    if temperature <= 0:
        raise ValueError(f"supervised_contrastive: got temperature {temperature}, wants above 0")
    filled = key_label >= 0
    if not bool(filled.any()):
        raise ValueError("supervised_contrastive: got no keys")
    with torch.autocast(query.device.type, enabled=False):
        wide = torch.promote_types(query.dtype, torch.float32)
        similarity = unit_rows(query.to(wide)) @ unit_rows(keys.to(wide)).T / temperature
        log_share = F.log_softmax(similarity.masked_fill(~filled, -torch.inf), dim=1)
        positive = (label[:, None] == key_label[None, :]) & filled
        total = log_share.masked_fill(~positive, 0.0).sum(dim=1)
        return -(total / positive.sum(dim=1).clamp(min=1)).mean()
