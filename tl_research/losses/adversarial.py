"""Parts of domain-adversarial training: gradient reversal, the discriminator's loss, and the ramp of its weight."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, scale: float | Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.scale = inputs[1]

    @staticmethod
    def backward(ctx, grad: Tensor):
        return -ctx.scale * grad, None


def reverse_gradient(x: Tensor, scale: float | Tensor) -> Tensor:
    """Identity whose gradient is -scale times the incoming one.

    Args:
        x: (...) float.
        scale: factor; a 0-d tensor rather than a float spares `torch.compile` from compiling anew as it changes.

    Returns:
        `x`, same dtype.

    Reference:
        Ganin et al. 2016, JMLR 17(59), eq. 16 and 17.
    """
    return _ReverseGradient.apply(x, scale)


def domain_bce(
    source_logit: Tensor,
    target_logit: Tensor,
    *,
    source_weight: Tensor | None = None,
    target_weight: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy of a domain discriminator, source = 0 and target = 1.

    ½ mean_i w_i softplus(s_i) + ½ mean_j v_j softplus(-t_j): each domain weighs one half whatever its batch size, so
    that a discriminator that knows nothing (logits 0) scores ln 2 for weights of mean 1. In float32 or wider.

    Args:
        source_logit: (n,) or (n, 1) float, n >= 1.
        target_logit: (m,) or (m, 1) float, m >= 1.
        source_weight: (n,) float w, of the source rows; None: 1.
        target_weight: (m,) float v, of the target rows; None: 1.

    Returns:
        Scalar, in nats.

    Raises:
        ValueError: a side without rows.

    Reference:
        Ganin et al. 2016, JMLR 17(59), eq. 9.
    """
    if source_logit.numel() == 0 or target_logit.numel() == 0:
        raise ValueError(f"domain_bce: got {source_logit.numel()} source and {target_logit.numel()} target logits")
    with torch.autocast(source_logit.device.type, enabled=False):
        source, target = (
            logit.to(torch.promote_types(logit.dtype, torch.float32)) for logit in (source_logit, target_logit)
        )
        weights = (
            None if weight is None else weight.to(logit.dtype).reshape(logit.shape)
            for logit, weight in ((source, source_weight), (target, target_weight))
        )
        source_loss = binary_cross_entropy_with_logits(source, torch.zeros_like(source), weight=next(weights))
        target_loss = binary_cross_entropy_with_logits(target, torch.ones_like(target), weight=next(weights))
        return (source_loss + target_loss) / 2


def ganin_ramp(progress: float, gamma: float = 10.0) -> float:
    """Weight of the adversarial term: 2 / (1 + exp(-gamma p)) - 1, from 0 at p = 0 to almost 1 at p = 1.

    Args:
        progress: share of training that is done, 0 to 1.
        gamma: steepness.

    Reference:
        Ganin et al. 2016, JMLR 17(59), section 5.2.
    """
    return 2 / (1 + math.exp(-gamma * progress)) - 1
