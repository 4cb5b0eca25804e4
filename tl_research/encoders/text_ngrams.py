"""Weighted n-grams into a multi-layer perceptron."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from tl_research.config import EncoderConfig, all_at_least, one_of, share
from tl_research.data.batch import Inputs
from tl_research.data.transforms.spec import InputSpec
from tl_research.encoders.base import Encoder
from tl_research.encoders.text import require_form
from tl_research.nn.mlp import ACTIVATIONS, linear_blocks, mlp_layers
from tl_research.registry import register_encoder


@dataclass
class TextNgramsConfig(EncoderConfig):
    """Options of `text_ngrams`: the widths of its layers, the first of which reads the sparse row."""

    name: str = "text_ngrams"
    hidden: list[int] = all_at_least(1, default=[100])
    activation: str = one_of(ACTIVATIONS, default="relu")
    dropout: float = share(one=False, default=0.0)


@register_encoder("text_ngrams", config=TextNgramsConfig, text="tfidf")
class TextNgrams(Encoder):
    """A multi-layer perceptron over the sparse row of a text's n-grams, tf-idf or hashed.

    The first layer, sum_j value_j w_(index_j) + b, is a weighted sum of embeddings, which needs no dense row.
    """

    takes = ("text",)

    def __init__(self, config: TextNgramsConfig, spec: InputSpec):
        super().__init__(config, spec)
        require_form(config, spec, ("tfidf", "hashed"))
        width = config.hidden[0]
        self.first = _SparseLinear(spec.text.size, width)
        self.first_activation = nn.Sequential(ACTIVATIONS[config.activation](), nn.Dropout(config.dropout))
        self.layers, self.out_features = mlp_layers(
            width, config.hidden[1:], activation=config.activation, dropout=config.dropout, batch_norm=False
        )

    def forward(self, inputs: Inputs) -> Tensor:
        return self.layers(self.first_activation(self.first(inputs["text_index"], inputs["text_value"])))

    def blocks(self) -> list[str]:
        """The sum of embeddings, then each linear layer."""
        return ["first", *linear_blocks(self.layers, "layers")]


class _SparseLinear(nn.Module):
    def __init__(self, terms: int, width: int):
        super().__init__()
        self.embedding = nn.EmbeddingBag(terms, width, mode="sum")
        # Start small: a rare term should say little before it has learnt something.
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.bias = nn.Parameter(self.embedding.weight.new_zeros(width))

    def forward(self, index: Tensor, value: Tensor) -> Tensor:
        return self.embedding(index, per_sample_weights=value.to(self.embedding.weight.dtype)) + self.bias
