"""Adapters that can be folded into the weight of their layer, and back out of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tl_research.adapters.base import CHILD, Adapter, adapted_layers, detach


class MergeableAdapter(Adapter):
    """An adapter that amounts to another weight of its layer."""

    def __init__(self):
        super().__init__()
        self._bare: Tensor | None = None

    def merged_weight(self, layer: nn.Module) -> Tensor:
        """Return the weight with which the bare layer does what the adapted one does."""
        raise NotImplementedError

    def adapted(self, layer: nn.Module, inputs: Tensor, output: Tensor) -> Tensor:
        """`forward` of the adapter while it is not merged."""
        raise NotImplementedError

    @property
    def is_merged(self) -> bool:
        """Whether the layer's weight holds the change at present."""
        return self._bare is not None

    def forward(self, layer: nn.Module, inputs: Tensor, output: Tensor) -> Tensor:
        return output if self.is_merged else self.adapted(layer, inputs, output)

    @torch.no_grad()
    def merge(self, layer: nn.Module) -> None:
        """Write `merged_weight` into the layer, and keep the weight that it had. Does nothing where it is merged."""
        if not self.is_merged:
            merged = self.merged_weight(layer)
            # Kept whole rather than subtracted again: unmerged, the frozen weight is bit-equal to what it was.
            self._bare = layer.weight.detach().clone()
            layer.weight.copy_(merged)

    @torch.no_grad()
    def unmerge(self, layer: nn.Module) -> None:
        """Give the layer its weight back, bit for bit. Does nothing where it is not merged."""
        if self.is_merged:
            layer.weight.copy_(self._bare)
            self._bare = None

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        if self.is_merged:
            raise RuntimeError(f"{prefix}*: merged weights beside their adapter would count it twice; unmerge or fold")
        super()._save_to_state_dict(destination, prefix, keep_vars)


def merge(model: nn.Module) -> int:
    """Write every adapter into its layer's weight, to spare its cost in prediction.

    Returns:
        Number of merged layers.

    Raises:
        ValueError: an adapter is no change of the weight (the bottleneck), or the weight belongs to two modules.
    """
    layers = list(adapted_layers(model))
    owners = [parameter for module in model.modules() for parameter in module._parameters.values()]
    for name, layer in layers:
        if not isinstance(getattr(layer, CHILD), MergeableAdapter):
            raise ValueError(f"{name}: a {type(getattr(layer, CHILD)).__name__} is no change of a weight")
        if sum(parameter is layer.weight for parameter in owners) > 1:
            raise ValueError(f"{name}: its weight is shared with another module, which a merge would change")
    for _, layer in layers:
        getattr(layer, CHILD).merge(layer)
    return len(layers)


def unmerge(model: nn.Module) -> int:
    """Undo `merge`: every weight is bit-equal to what it was. Returns the number of adapted layers."""
    layers = [layer for _, layer in adapted_layers(model)]
    for layer in layers:
        getattr(layer, CHILD).unmerge(layer)
    return len(layers)


def fold(model: nn.Module) -> int:
    """Merge and take the adapters off: a plain network that does the same. Returns the number of layers."""
    merge(model)
    return detach(model)
