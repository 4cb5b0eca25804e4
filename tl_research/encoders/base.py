"""What every encoder is: a module made from its config and the shape of the inputs, that says its width."""

from __future__ import annotations

from torch import Tensor, nn

from tl_research.config import EncoderConfig
from tl_research.data.batch import Inputs
from tl_research.data.transform import InputSpec
from tl_research.errors import ConfigError

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


class Encoder(nn.Module):
    """Base of all encoders: inputs -> features (n, out_features)."""

    out_features: int

    def __init__(self, config: EncoderConfig, spec: InputSpec):
        super().__init__()
        self.config, self.spec = config, spec

    def forward(self, inputs: Inputs) -> Tensor:
        raise NotImplementedError


def require_matrix(config: EncoderConfig, spec: InputSpec) -> None:
    """Raise `ConfigError` where a table with categorical columns meets an encoder of plain matrices."""
    if spec.is_table:
        raise ConfigError(
            f"encoder.name: {config.name!r} takes a matrix of numbers, but these rows have named columns; use 'tabular'"
        )


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
