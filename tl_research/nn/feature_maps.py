"""Outputs of the blocks of an encoder, collected while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from einops import rearrange
from torch import Tensor, nn


@contextmanager
def feature_maps(
    model: nn.Module, blocks: Iterable[str], change: Callable[[str, Tensor], Tensor] | None = None
) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of named submodules, channels first, while the context lasts.

    Args:
        model: the network.
        blocks: names of its submodules. A name that is no submodule, or a submodule that is not called, has no map.
        change: called with a block's name and its map; what it returns takes the map's place in the network.

    Yields:
        name -> (n, channels, ...). The channels of an output (n, tokens, features) are its features.
    """
    maps: dict[str, Tensor] = {}
    modules = dict(model.named_modules())

    def watch(name: str):
        def hook(module: nn.Module, inputs, output):
            if not isinstance(output, Tensor) or output.ndim < 2:
                return None
            turned = output.ndim == 3
            maps[name] = rearrange(output, "n token feature -> n feature token") if turned else output
            if change is None:
                return None
            changed = change(name, maps[name])
            return rearrange(changed, "n feature token -> n token feature") if turned else changed

        return hook

    handles = [modules[name].register_forward_hook(watch(name)) for name in blocks if name in modules]
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()
