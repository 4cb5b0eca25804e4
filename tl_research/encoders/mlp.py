"""A multi-layer perceptron over a feature matrix."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from tl_research.config import EncoderConfig, check, check_choice
from tl_research.data.batch import Inputs
from tl_research.data.transforms.spec import InputSpec
from tl_research.encoders.base import Encoder
from tl_research.nn.mlp import ACTIVATIONS, linear_blocks, mlp_layers
from tl_research.registry import register_encoder


@dataclass
class MLPConfig(EncoderConfig):
    name: str = "mlp"
    hidden: list[int] = field(default_factory=lambda: [100])
    activation: str = "relu"
    dropout: float = 0.0
    batch_norm: bool = False

    def __post_init__(self):
        check(
            len(self.hidden) >= 1 and min(self.hidden) >= 1, "encoder.hidden", list(self.hidden), "widths of 1 or more"
        )
        check_choice("encoder.activation", self.activation, ACTIVATIONS)
        check(0 <= self.dropout < 1, "encoder.dropout", self.dropout, "0 <= dropout < 1")


@register_encoder("mlp", config=MLPConfig)
class MLP(Encoder):
    """Multi-layer perceptron over a feature matrix; the features are the last hidden layer."""

    def __init__(self, config: MLPConfig, spec: InputSpec):
        super().__init__(config, spec)
        self.layers, self.out_features = mlp_layers(
            spec.numeric,
            config.hidden,
            activation=config.activation,
            dropout=config.dropout,
            batch_norm=config.batch_norm,
        )

    def forward(self, inputs: Inputs) -> Tensor:
        return self.layers(inputs)

    def blocks(self) -> list[str]:
        return linear_blocks(self.layers, "layers")
