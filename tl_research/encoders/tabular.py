"""Numbers and embedded categories of a table into a multi-layer perceptron."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tl_research.config import EncoderConfig, all_at_least, at_least, one_of, share
from tl_research.data.batch import Inputs
from tl_research.data.transforms.spec import InputSpec
from tl_research.encoders.base import Encoder
from tl_research.nn.mlp import ACTIVATIONS, linear_blocks, mlp_layers
from tl_research.registry import register_encoder


@dataclass
class TabularConfig(EncoderConfig):
    """Options of `tabular`: the width of the embeddings, and the perceptron over them and the numbers."""

    name: str = "tabular"
    hidden: list[int] = all_at_least(1, default=[128, 64])
    activation: str = one_of(ACTIVATIONS, default="relu")
    dropout: float = share(one=False, default=0.0)
    batch_norm: bool = False
    embedding_dim: int | None = at_least(1, default=None)  # None: min(32, round(1.6 * cardinality^0.56)) per column


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
