"""Feature maps held near the source model's, the useful channels most."""

from __future__ import annotations

import torch
from torch import Tensor


def attention_from_loss_increase(increase: Tensor) -> Tensor:
    """Weight of each channel of the source model: softmax_c(increase_c).

    Args:
        increase: (channels,) float, L(model without channel c) - L(model), on labelled target rows.

    Returns:
        (channels,) of sum 1.

    Reference:
        Li et al. 2019, ICLR (DELTA), eq. 5.
    """
    return torch.softmax(increase.to(torch.promote_types(increase.dtype, torch.float32)), dim=0)


def delta(current: Tensor, source: Tensor, attention: Tensor | None = None) -> Tensor:
    """Attention-weighted squared distance of feature maps: mean_i sum_c C a_c mean_p (f_icp - s_icp)².

    C is the number of channels and p runs over positions, so that equal attention is the plain squared distance of
    C channels whatever the size of the map, as in the authors' code. In float32 or wider.

    Args:
        current: (n, channels, ...) float f.
        source: same shape s, of the source model on the same rows; taken as constant.
        attention: (channels,) float a of sum 1; None: 1 / C each.

    Returns:
        Scalar with a gradient to `current`.

    Raises:
        ValueError: shapes that do not fit.

    Reference:
        Li et al. 2019, ICLR, "DELTA: DEep Learning Transfer using Feature Map with Attention", eq. 3 and 4.
    """
    if current.shape != source.shape or current.ndim < 2:
        raise ValueError(f"delta: got {tuple(current.shape)} and {tuple(source.shape)}, wants one shape (n, c, ...)")
    channels = current.shape[1]
    if attention is not None and attention.shape != (channels,):
        raise ValueError(f"delta: got attention of shape {tuple(attention.shape)}, wants ({channels},)")
    with torch.autocast(current.device.type, enabled=False):
        wide = torch.promote_types(current.dtype, torch.float32)
        square = (current.to(wide) - source.detach().to(wide)).square()
        square = square.reshape(*square.shape[:2], -1).mean(dim=2)
        if attention is not None:
            square = square * (channels * attention.to(wide))
        return square.sum(dim=1).mean()
