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
    """Return Σ_k w_k θ_k, entry by entry; what is not a float (a count of batches) is the last part's.

    A weight of 0 leaves its part out and a single weight of 1 returns it bit for bit.
    """
    mixed = {}
    for name, last in parts[-1].items():
        if not last.is_floating_point():
            mixed[name] = last
            continue
        terms = [part[name] * weight if weight != 1 else part[name] for part, weight in zip(parts, weights) if weight]
        mixed[name] = torch.stack(terms).sum(dim=0) if len(terms) > 1 else terms[0]
    return mixed
