"""A multi-layer perceptron over a feature matrix."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.config import EncoderConfig, all_at_least, one_of, share
from tl_research.data.batch import Inputs
from tl_research.data.transforms.spec import InputSpec
from tl_research.encoders.base import Encoder
from tl_research.nn.mlp import ACTIVATIONS, linear_blocks, mlp_layers
from tl_research.registry import register_encoder


@dataclass
class MLPConfig(EncoderConfig):
    """Options of `mlp`: the widths of its layers, the last of which are the features, and what stands between them."""

    name: str = "mlp"
    hidden: list[int] = all_at_least(1, default=[100])
    activation: str = one_of(ACTIVATIONS, default="relu")
    dropout: float = share(one=False, default=0.0)
    batch_norm: bool = False


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
