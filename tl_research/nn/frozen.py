"""A copy of a part of the model that nothing trains."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class FrozenCopy(nn.Module):
    """A copy of a module whose parameters are buffers, always in evaluation mode: a checkpoint holds it, no optimiser
    sees it, and no running statistic of it moves.

    Args:
        module: what is copied, as it is now.
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
        return super().train(False)

    def forward(self, *inputs):
        return self.module(*inputs)

    def values(self) -> dict[str, Tensor]:
        """Name -> value of every parameter and buffer of the copied module, under its name there."""
        return dict(self.module.named_buffers())

    def fill(self, values: dict[str, Tensor]) -> None:
        """Overwrite the values of that name."""
        own = self.values()
        with torch.no_grad():
            for name, value in values.items():
                own[name].copy_(value)


def values_of(module: nn.Module) -> dict[str, Tensor]:
    """Name -> value of every parameter and buffer of a module, without their gradients; not copied."""
    return {name: value.detach() for name, value in module.state_dict(keep_vars=True).items()}


def combined(parts: list[dict[str, Tensor]], weights: list[float]) -> dict[str, Tensor]:
    """Return Σ_k w_k θ_k, entry by entry; what is not a float (a count of batches) is that of the last part.

    A weight of 0 leaves its part out, and a single part of weight 1 comes back bit for bit.
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
