"""Numbers and embedded categories of a table into a multi-layer perceptron."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tl_research.config import EncoderConfig, check, check_choice
from tl_research.data.batch import Inputs
from tl_research.data.transforms.spec import InputSpec
from tl_research.encoders.base import Encoder
from tl_research.nn.mlp import ACTIVATIONS, linear_blocks, mlp_layers
from tl_research.registry import register_encoder


@dataclass
class TabularConfig(EncoderConfig):
    name: str = "tabular"
    hidden: list[int] = field(default_factory=lambda: [128, 64])
    activation: str = "relu"
    dropout: float = 0.0
    batch_norm: bool = False
    embedding_dim: int | None = None  # None: min(32, round(1.6 * cardinality^0.56)) per column

    def __post_init__(self):
        check(
            len(self.hidden) >= 1 and min(self.hidden) >= 1, "encoder.hidden", list(self.hidden), "widths of 1 or more"
        )
        check_choice("encoder.activation", self.activation, ACTIVATIONS)
        check(0 <= self.dropout < 1, "encoder.dropout", self.dropout, "0 <= dropout < 1")
        if self.embedding_dim is not None:
            check(self.embedding_dim >= 1, "encoder.embedding_dim", self.embedding_dim, "at least 1")


@register_encoder("tabular", config=TabularConfig, paper="Guo & Berkhahn 2016, arXiv:1604.06737 (entity embeddings)")
class Tabular(Encoder):
    """Scaled numbers and one embedding per categorical column, into a multi-layer perceptron.

    A plain feature matrix is taken as a table of numbers. Code 0 of a column is "not seen in training"; its
    embedding is zero and stays zero, so that an unseen category says nothing rather than something random.
    """

    takes = ("matrix", "columns")

    def __init__(self, config: TabularConfig, spec: InputSpec):
        super().__init__(config, spec)
        self.embeddings = nn.ModuleList(
            nn.Embedding(count, config.embedding_dim or min(32, round(1.6 * count**0.56)), padding_idx=0)
            for count in spec.cardinalities
        )
        for embedding in self.embeddings:
            # Embeddings drawn from the default N(0, 1) would drown the scaled numbers beside them.
            with torch.no_grad():
                embedding.weight.mul_(0.1)
        width = spec.numeric + sum(embedding.embedding_dim for embedding in self.embeddings)
        self.layers, self.out_features = mlp_layers(
            width, config.hidden, activation=config.activation, dropout=config.dropout, batch_norm=config.batch_norm
        )

    def forward(self, inputs: Inputs) -> Tensor:
        if not isinstance(inputs, dict):
            return self.layers(inputs)
        codes = inputs["categorical"]
        parts = [embedding(codes[:, column]) for column, embedding in enumerate(self.embeddings)]
        return self.layers(torch.cat([inputs["numeric"], *parts], dim=1))

    def blocks(self) -> list[str]:
        return [*(["embeddings"] if len(self.embeddings) else []), *linear_blocks(self.layers, "layers")]
