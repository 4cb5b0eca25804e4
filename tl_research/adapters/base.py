"""What every adapter is, and how it is hung on the layers of a network.

An adapter is a child module `adapter` of the layer and acts in a forward hook. The layer is neither replaced nor
wrapped: its parameters keep their names, so that a checkpoint of the bare network fits the adapted one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tl_research.errors import ConfigError, nearest

CHILD = "adapter"
ADAPTABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Embedding, nn.EmbeddingBag)


class Bag(NamedTuple):
    """What an `nn.EmbeddingBag` is called with: (n, k) tokens, and what each counts, (n, k) or None for 1."""

    index: Tensor
    weight: Tensor | None

    def weighed(self, gain: Tensor) -> Bag:
        """The same tokens, each counting `gain[token]` times as much."""
        gain = gain[self.index]
        return Bag(self.index, gain if self.weight is None else gain * self.weight)


class Adapter(nn.Module):
    """Base of all adapters: changes what its layer puts out.

    Args:
        layer: the layer it is made for; not kept.
    """

    def forward(self, layer: nn.Module, inputs: Tensor | Bag, output: Tensor) -> Tensor:
        """Return the adapted output of `layer`, whose own output for `inputs` is `output`."""
        raise NotImplementedError


def adaptable_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers that an adapter can be hung on, by dotted name.

    They are Linear, Conv1d, Conv2d, Embedding and EmbeddingBag (of sums), but for an adapter's own layers and for the
    output projection of `nn.MultiheadAttention`: its weight is read without a call of the layer, so that an adapter
    would be dead there.
    """
    inside = {id(part) for module in model.modules() if isinstance(module, Adapter) for part in module.modules()}
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, ADAPTABLE)
        and not isinstance(layer, nn.modules.linear.NonDynamicallyQuantizableLinear)
        and getattr(layer, "mode", "sum") == "sum"  # a mean has no weights, and a maximum is not linear
        and id(layer) not in inside
    }


def matching_layers(model: nn.Module, layers: Iterable[str] = ("*",), *, key: str = "layers") -> dict[str, nn.Module]:
    """Return the adaptable layers whose dotted name matches a pattern, in the network's order.

    Args:
        model: the network.
        layers: shell patterns over the names of `adaptable_layers` (`*` matches dots too).
        key: how an error calls `layers`.

    Raises:
        ConfigError: a pattern matches no layer.
    """
    known, patterns = adaptable_layers(model), list(layers)
    if not patterns:
        raise ConfigError(f"{key}: got [], wants names or patterns of layers{nearest('', known)}")
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise ConfigError(f"{key}: got {pattern!r}, which matches no layer{nearest(pattern, known)}")
    return {name: layer for name, layer in known.items() if any(fnmatchcase(name, pattern) for pattern in patterns)}


def attach(
    model: nn.Module, make: Callable[[nn.Module], Adapter], *, layers: Iterable[str] = ("*",), key: str = "layers"
) -> list[str]:
    """Hang an adapter on every layer whose dotted name matches a pattern.

    Args:
        model: the network; changed in place.
        make: makes the adapter of a layer.
        layers, key: as in `matching_layers`.

    Returns:
        Names of the adapted layers, in the network's order.

    Raises:
        ConfigError: a pattern matches no layer.
        ValueError: a layer has an adapter already.
    """
    matching = matching_layers(model, layers, key=key)
    for name, layer in matching.items():
        if hasattr(layer, CHILD):
            raise ValueError(f"{name} has an adapter already")
    for layer in matching.values():
        layer.add_module(CHILD, make(layer).to(layer.weight))
        layer.register_forward_hook(_adapt, with_kwargs=True)
    _forget_compiled(model)
    return list(matching)


def adapted_layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield name and layer of every adapted layer."""
    for name, layer in model.named_modules():
        if isinstance(getattr(layer, CHILD, None), Adapter):
            yield name, layer


def detach(model: nn.Module) -> int:
    """Take every adapter off; returns how many there were. Merged weights stay as they are."""
    layers = [layer for _, layer in adapted_layers(model)]
    for layer in layers:
        delattr(layer, CHILD)
        for number, hook in list(layer._forward_hooks.items()):
            if hook is _adapt:
                del layer._forward_hooks[number]
                layer._forward_hooks_with_kwargs.pop(number, None)
    _forget_compiled(model)
    return len(layers)


def _forget_compiled(model: nn.Module) -> None:
    # Compiled code does not look whether there are other hooks than when it was compiled.
    if any(module._compiled_call_impl is not None for module in model.modules()):
        torch.compiler.reset()


# At module level: a copied or pickled network must call the adapter of the copy.
def _adapt(layer: nn.Module, args: tuple, kwargs: dict, output: Tensor) -> Tensor:
    inputs = args[0] if args else kwargs["input"]
    if isinstance(layer, nn.EmbeddingBag):
        inputs = Bag(inputs, args[2] if len(args) > 2 else kwargs.get("per_sample_weights"))
    return getattr(layer, CHILD)(layer, inputs, output)
