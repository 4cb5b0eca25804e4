"""One linear map."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from tl_research.config import EncoderConfig, check
from tl_research.data.batch import Inputs
from tl_research.data.transforms.spec import InputSpec
from tl_research.encoders.base import Encoder
from tl_research.registry import register_encoder


@dataclass
class LinearConfig(EncoderConfig):
    name: str = "linear"
    dim: int = 64

    def __post_init__(self):
        check(self.dim >= 1, "encoder.dim", self.dim, "at least 1")


@register_encoder("linear", config=LinearConfig)
class Linear(Encoder):
    """One linear map of a feature matrix to `dim` features: x W + b."""

    def __init__(self, config: LinearConfig, spec: InputSpec):
        super().__init__(config, spec)
        self.out_features = config.dim
        self.map = nn.Linear(spec.numeric, config.dim)

    def forward(self, inputs: Inputs) -> Tensor:
        return self.map(inputs)
