"""Names of the blocks of a network of timm or transformers, from input to output."""

from __future__ import annotations

from torch import nn


def child_blocks(module: nn.Module, prefix: str, *, open_up: tuple[str, ...] = ()) -> list[str]:
    """Name the children that have parameters, and the module's own parameters.

    Args:
        module: the network.
        prefix: its dotted name.
        open_up: names of children whose own children are the blocks.

    Returns:
        Dotted names in the order of definition, which is that of the forward pass in timm and transformers. A
        parameter that no child holds (a class token) is a block of its own, and comes first. A norm belongs to the
        block before it (`Encoder.block_of`).
    """
    names = [f"{prefix}.{name}" for name, _ in module.named_parameters(recurse=False)]
    for name, child in module.named_children():
        is_norm = "Norm" in type(child).__name__ and bool(names)
        if is_norm or not any(True for _ in child.parameters()):
            continue
        if name in open_up:
            names += child_blocks(child, f"{prefix}.{name}", open_up=open_up)
        else:
            names.append(f"{prefix}.{name}")
    return names
