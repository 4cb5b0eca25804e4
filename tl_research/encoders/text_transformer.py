"""A small transformer over words, trained from nothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import repeat
from torch import Tensor, nn

from tl_research.config import EncoderConfig, at_least, check, one_of, share
from tl_research.data.batch import Inputs
from tl_research.data.transforms.spec import InputSpec
from tl_research.encoders.base import Encoder
from tl_research.encoders.text import POOLS, pool_tokens, require_form
from tl_research.nn.attention import AttentionBlock
from tl_research.registry import register_encoder


@dataclass
class TextTransformerConfig(EncoderConfig):
    """Options of `text_transformer`: the size of its layers, and how the states of the words become one vector."""

    name: str = "text_transformer"
    width: int = at_least(1, default=128)
    layers: int = at_least(1, default=2)
    heads: int = at_least(1, default=4)
    dropout: float = share(one=False, default=0.1)
    pool: str = one_of(POOLS, default="mean")  # or first: the state of a token put before the text

    def __post_init__(self):
        super().__post_init__()
        wants = f"a multiple of encoder.heads={self.heads}"
        check(self.width % self.heads == 0, "encoder.width", self.width, wants)


@register_encoder("text_transformer", config=TextTransformerConfig, paper="Vaswani et al. 2017, NeurIPS", text="words")
class TextTransformer(Encoder):
    """Words and their places into pre-norm transformer layers; one vector per text, padding ignored everywhere."""

    takes = ("text",)

    def __init__(self, config: TextTransformerConfig, spec: InputSpec):
        super().__init__(config, spec)
        require_form(config, spec, ("words", "pretrained"))
        self.out_features = config.width
        self.tokens = _Tokens(spec.text.size, spec.text.width, spec.text.padding, config.width, config.dropout)
        self.layers = nn.ModuleList(
            AttentionBlock(config.width, config.heads, dropout=config.dropout) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)

    def forward(self, inputs: Inputs) -> Tensor:
        states, present = self.tokens(inputs["text_ids"])
        for layer in self.layers:
            states = layer(states, present)
        return pool_tokens(self.norm(states), present, self.config.pool)

    def blocks(self) -> list[str]:
        """Embeddings and layers; the last norm belongs to the last layer."""
        return ["tokens", *(f"layers.{number}" for number in range(len(self.layers)))]


class _Tokens(nn.Module):
    def __init__(self, size: int, places: int, padding: int, width: int, dropout: float):
        super().__init__()
        self.padding = padding
        self.words = nn.Embedding(size, width, padding_idx=padding)
        self.places = nn.Parameter(torch.empty(places, width))
        # A token before every text: a text without words still has something to attend to.
        self.first = nn.Parameter(torch.empty(width))
        for parameter in (self.words.weight, self.places, self.first):
            nn.init.normal_(parameter, std=0.02)
        with torch.no_grad():
            self.words.weight[padding].zero_()
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        there = ids != self.padding
        states = self.words(ids) + self.places[: ids.shape[1]]
        first = repeat(self.first, "width -> n 1 width", n=len(ids))
        present = torch.cat([there.new_ones(len(ids), 1), there], dim=1)
        return self.dropout(torch.cat([first, states], dim=1)), present
