"""Multi-layer perceptrons."""

from __future__ import annotations

from torch import nn

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


def linear_blocks(layers: nn.Sequential, prefix: str) -> list[str]:
    """Names of the linear layers in what `mlp_layers` made: each begins a block, to which its norm belongs."""
    return [f"{prefix}.{name}" for name, layer in layers.named_children() if isinstance(layer, nn.Linear)]


def mlp_layers(
    width: int, hidden: list[int], *, activation: str, dropout: float, batch_norm: bool
) -> tuple[nn.Sequential, int]:
    """Linear, (batch norm), activation, (dropout) a hidden width; returns the layers and the last width."""
    layers: list[nn.Module] = []
    for out in hidden:
        layers.append(nn.Linear(width, out, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm1d(out))
        layers.append(ACTIVATIONS[activation]())
        if dropout:
            layers.append(nn.Dropout(dropout))
        width = out
    return nn.Sequential(*layers), width
