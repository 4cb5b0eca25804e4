"""Multi-layer perceptrons."""

from __future__ import annotations

from torch import nn

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


def linear_blocks(layers: nn.Sequential, prefix: str) -> list[str]:
    """Return the names of the linear layers of `mlp_layers`. Each begins a block, to which its norm belongs."""
    return [f"{prefix}.{name}" for name, layer in layers.named_children() if isinstance(layer, nn.Linear)]


def mlp_layers(
    width: int, hidden: list[int], *, activation: str, dropout: float, batch_norm: bool
) -> tuple[nn.Sequential, int]:
    """Make linear, (batch norm), activation and (dropout) layers per hidden width; return them and the last width."""
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
