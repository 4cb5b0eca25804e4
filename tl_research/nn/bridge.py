"""Maps between two spaces of vectors."""

from __future__ import annotations

from torch import nn

KINDS = ("linear", "mlp")


def bridge(kind: str, width: int, hidden: int) -> nn.Module:
    """Make a map from vectors (n, width) to vectors (n, width): affine, or a perceptron with one tanh layer.

    Args:
        kind: one of `KINDS`.
        width: of the vectors.
        hidden: units of the perceptron.
    """
    return nn.Linear(width, width) if kind == "linear" else tanh_layers(width, hidden, width)


def tanh_layers(width: int, hidden: int, out: int) -> nn.Sequential:
    """Make a perceptron from (n, width) to (n, out) with one hidden layer of tanh units."""
    return nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, out))
