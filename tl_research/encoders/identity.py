"""The inputs themselves, as one matrix."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.config import EncoderConfig
from tl_research.data.batch import Inputs
from tl_research.data.matrix import as_matrix, matrix_width
from tl_research.data.transforms.spec import KINDS, InputSpec
from tl_research.encoders.base import Encoder
from tl_research.registry import register_encoder


@dataclass
class IdentityConfig(EncoderConfig):
    """Options of `identity`: none."""

    name: str = "identity"


@register_encoder("identity", config=IdentityConfig)
class Identity(Encoder):
    """The inputs themselves: a matrix as it is, a table with its categories one-hot, pixels. Nothing is trained."""

    takes = tuple(KINDS)

    def __init__(self, config: IdentityConfig, spec: InputSpec):
        super().__init__(config, spec)
        self.out_features = matrix_width(spec)

    @classmethod
    def is_trained(cls, config: IdentityConfig) -> bool:
        return True

    def forward(self, inputs: Inputs) -> Tensor:
        return as_matrix(inputs, self.spec)
