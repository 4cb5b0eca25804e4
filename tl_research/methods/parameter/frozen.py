"""A copy of a part of the model that nothing trains."""

from __future__ import annotations

import copy

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
