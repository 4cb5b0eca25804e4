"""Interactions as they are, for methods that are fitted to them in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.config import EncoderConfig
from tl_research.data.batch import Inputs
from tl_research.data.transforms.spec import InputSpec
from tl_research.encoders.base import Encoder
from tl_research.registry import register_encoder


@dataclass
class CodesConfig(EncoderConfig):
    """Group `encoder` of `codes`."""

    name: str = "codes"


@register_encoder("codes", config=CodesConfig)
class Codes(Encoder):
    """The codes of user and item, (n, 2) float64; it has no weights."""

    takes = ("interactions",)
    out_features = 2

    def __init__(self, config: CodesConfig, spec: InputSpec):
        super().__init__(config, spec)

    @classmethod
    def is_trained(cls, config: EncoderConfig) -> bool:
        return True

    def forward(self, inputs: Inputs) -> Tensor:
        return torch.stack([inputs["user"], inputs["item"]], dim=1).double()
