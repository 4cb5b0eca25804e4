"""One linear map."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from tl_research.config import EncoderConfig, at_least
from tl_research.data.batch import Inputs
from tl_research.data.transforms.spec import InputSpec
from tl_research.encoders.base import Encoder
from tl_research.registry import register_encoder


@dataclass
class LinearConfig(EncoderConfig):
    """Options of `linear`: the number of features."""

    name: str = "linear"
    dim: int = at_least(1, default=64)


@register_encoder("linear", config=LinearConfig)
class Linear(Encoder):
    """One linear map of a feature matrix to `dim` features: x W + b."""

    def __init__(self, config: LinearConfig, spec: InputSpec):
        super().__init__(config, spec)
        self.out_features = config.dim
        self.map = nn.Linear(spec.numeric, config.dim)

    def forward(self, inputs: Inputs) -> Tensor:
        return self.map(inputs)
