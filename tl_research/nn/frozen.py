"""A copy of a part of the model that nothing trains."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class FrozenCopy(nn.Module):
    """A copy of a module, always in evaluation mode, whose parameters are buffers.

    A checkpoint holds it, no optimiser sees it, and its running statistics do not move.

    Args:
        module: the module to copy, as it is now.
    """

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = copy.deepcopy(module)
        for part in self.module.modules():
            for name, parameter in list(part.named_parameters(recurse=False)):
                del part._parameters[name]
                part.register_buffer(name, parameter.detach().clone())
        self.eval()

    def train(self, mode: bool = True) -> FrozenCopy:
        """Stay in evaluation mode, whatever `mode` says."""
        return super().train(False)

    def forward(self, *inputs):
        """Return what the copied module returns."""
        return self.module(*inputs)

    def values(self) -> dict[str, Tensor]:
        """Return name -> value of every parameter and buffer, under its name in the copied module."""
        return dict(self.module.named_buffers())

    def fill(self, values: dict[str, Tensor]) -> None:
        """Overwrite the parameters and buffers of these names."""
        own = self.values()
        with torch.no_grad():
            for name, value in values.items():
                own[name].copy_(value)


def values_of(module: nn.Module) -> dict[str, Tensor]:
    """Return name -> value of every parameter and buffer of a module, detached but not copied."""
    return {name: value.detach() for name, value in module.state_dict(keep_vars=True).items()}


def combined(parts: list[dict[str, Tensor]], weights: list[float]) -> dict[str, Tensor]:
    """Return Σ_k w_k θ_k, entry by entry. Entries that are not floats (a count of batches) come from the last part.

    A part of weight 0 is left out. A single part of weight 1 is returned bit for bit.
    """
    present = [(part, weight) for part, weight in zip(parts, weights, strict=True) if weight]
    if len(present) == 1 and present[0][1] == 1:
        return dict(present[0][0])
    return {
        name: torch.stack([part[name] * weight for part, weight in present]).sum(dim=0)
        if last.is_floating_point()
        else last
        for name, last in present[-1][0].items()
    }
