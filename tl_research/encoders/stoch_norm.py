"""Stochastic normalisation: a layer that takes the place of batch normalisation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class StochNorm(nn.Module):
    """In training each channel is normalised by its moving statistics with probability p, else by the batch's.

    The moving statistics are updated from every batch, and are what is used in evaluation: p = 0 is plain batch
    normalisation, p = 1 normalisation by moving statistics. The channels are drawn anew at every step. (The authors'
    code draws the batch's statistics with probability p, and is plain batch normalisation at p = 1.)

    Args:
        norm: the BatchNorm1d or BatchNorm2d that it replaces. It shares the parameters and statistics, which keep
            their names.
        p: probability, 0 to 1.

    Reference:
        Kou et al. 2020, NeurIPS, "Stochastic Normalization", algorithm 1.
    """

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d, *, p: float):
        super().__init__()
        self.p, self.eps, self.momentum = p, norm.eps, norm.momentum
        self.weight, self.bias = norm.weight, norm.bias
        for name, value in norm.named_buffers():
            self.register_buffer(name, value)
        self.training = norm.training

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training:
            return self._normalise(inputs, self.running_mean, self.running_var)
        # Taken before the update, so that they are the statistics of the earlier batches.
        moving = self._normalise(inputs, self.running_mean.clone(), self.running_var.clone()) if self.p else None
        batch = self._normalise(inputs, self.running_mean, self.running_var, by_batch=True)
        if moving is None or self.p == 1:
            # At p = 0 and p = 1 nothing is drawn, so that the generator stays as batch normalisation leaves it.
            return batch if moving is None else moving
        channels = torch.rand(inputs.shape[1], device=inputs.device) < self.p
        return torch.where(channels.reshape(-1, *[1] * (inputs.ndim - 2)), moving, batch)

    def _normalise(self, inputs: Tensor, mean: Tensor, variance: Tensor, *, by_batch: bool = False) -> Tensor:
        momentum = self.momentum
        if by_batch:
            self.num_batches_tracked.add_(1)
            if momentum is None:
                momentum = 1.0 / float(self.num_batches_tracked)
        return F.batch_norm(inputs, mean, variance, self.weight, self.bias, by_batch, momentum or 0.0, self.eps)


def replaceable_norms(model: nn.Module) -> list[str]:
    """Names of the layers that `StochNorm` can take the place of: batch norms with moving statistics."""
    return [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)) and layer.track_running_stats
    ]


def use_stoch_norm(model: nn.Module, *, p: float) -> list[str]:
    """Put `StochNorm` in the place of every batch norm of a network.

    Args:
        model: changed in place; the names in its state do not change.
        p: probability of the moving statistics, 0 to 1.

    Returns:
        Names of the layers.
    """
    names = replaceable_norms(model)
    for name in names:
        parent, _, child = name.rpartition(".")
        owner = model.get_submodule(parent)
        setattr(owner, child, StochNorm(getattr(owner, child), p=p))
    return names
