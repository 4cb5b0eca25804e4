"""Image, text and table fields of a row as a set, of which some may be missing."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from einops import repeat
from torch import Tensor, nn

from tl_research.config import EncoderConfig, at_least, check, one_of, share
from tl_research.data.batch import Inputs
from tl_research.data.transforms.spec import InputSpec
from tl_research.encoders.base import Encoder
from tl_research.encoders.tabular import Tabular, TabularConfig
from tl_research.encoders.text_hf import TextHF, TextHFConfig
from tl_research.encoders.text_ngrams import TextNgrams, TextNgramsConfig
from tl_research.encoders.text_transformer import TextTransformer, TextTransformerConfig
from tl_research.encoders.vision import Vision, VisionConfig
from tl_research.nn.attention import AttentionBlock
from tl_research.registry import register_encoder

TEXTS = {"ngrams": TextNgrams, "transformer": TextTransformer, "hf": TextHF}
FORM_OF_TEXT = {"ngrams": "tfidf", "transformer": "words", "hf": "pretrained"}


@dataclass
class FusionConfig(EncoderConfig):
    """Options of `fusion`: the attention over modalities, and a group for the encoder of each."""

    name: str = "fusion"
    width: int = at_least(1, default=128)
    layers: int = at_least(1, default=1)
    heads: int = at_least(1, default=4)
    dropout: float = share(one=False, default=0.0)
    # Training: chance that a modality of a row is hidden; one always stays.
    modality_dropout: float = share(one=False, default=0.1)
    # Encoder of the texts; its options are in the group of that name.
    text: str = one_of(TEXTS, default="ngrams")
    image: VisionConfig = field(default_factory=VisionConfig)
    ngrams: TextNgramsConfig = field(default_factory=TextNgramsConfig)
    transformer: TextTransformerConfig = field(default_factory=TextTransformerConfig)
    hf: TextHFConfig = field(default_factory=TextHFConfig)
    table: TabularConfig = field(default_factory=TabularConfig)

    def __post_init__(self):
        super().__post_init__()
        wants = f"a multiple of encoder.heads={self.heads}"
        check(self.width % self.heads == 0, "encoder.width", self.width, wants)


@register_encoder(
    "fusion",
    config=FusionConfig,
    paper="Lee et al. 2019, ICML (set attention); Neverova et al. 2016, TPAMI 38(8) (modality dropout)",
    text=lambda config: FORM_OF_TEXT[config.text],
)
class Fusion(Encoder):
    """Each modality through an encoder of its own, then attention over the set of those that are present.

    f = norm(layers({q} + {W_m e_m(x_m) + t_m : m present}))_q,  q a learned query, t_m a learned mark of modality m.

    A modality that is missing, or hidden by modality dropout, reaches neither the attention nor its encoder. Its
    content therefore changes nothing, and rows that lack it do not enter batch statistics.
    """

    takes = ("columns", "image", "text")
    least = 2

    def __init__(self, config: FusionConfig, spec: InputSpec):
        super().__init__(config, spec)
        makes = {
            "image": lambda: Vision(config.image, spec),
            "text": lambda: TEXTS[config.text](getattr(config, config.text), spec),
            "table": lambda: Tabular(config.table, spec),
        }
        self.encoders = nn.ModuleDict({name: makes[name]() for name in spec.modalities})
        self.project = nn.ModuleDict(
            {name: nn.Linear(encoder.out_features, config.width) for name, encoder in self.encoders.items()}
        )
        self.query = nn.Parameter(torch.randn(config.width) * 0.02)
        self.marks = nn.Parameter(torch.randn(len(self.encoders), config.width) * 0.02)
        self.layers = nn.ModuleList(
            AttentionBlock(config.width, config.heads, dropout=config.dropout) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.out_features = config.width

    def forward(self, inputs: Inputs) -> Tensor:
        present = torch.stack([inputs[f"{name}_present"] for name in self.encoders], dim=1)
        if self.training and self.config.modality_dropout:
            present = hide_some(present, self.config.modality_dropout)
        members = [self._encode(name, inputs, present[:, i]) + self.marks[i] for i, name in enumerate(self.encoders)]
        query = repeat(self.query.to(members[0].dtype), "width -> n width", n=len(present))
        states = torch.stack([query, *members], dim=1)
        there = torch.cat([present.new_ones(len(present), 1), present], dim=1)
        for layer in self.layers:
            states = layer(states, there)
        return self.norm(states[:, 0])

    def _encode(self, name: str, inputs: dict[str, Tensor], present: Tensor) -> Tensor:
        """Features (n, width) of one modality, 0 in rows that lack it."""
        encoder, project = self.encoders[name], self.project[name]
        rows = present.nonzero().squeeze(1)
        if len(rows) == len(present):
            return project(encoder(inputs))
        if len(rows) == 0:
            return self.marks.new_zeros(len(present), self.config.width)
        # A batch norm cannot take a single row. The same row twice has the same mean.
        given = rows.repeat(2) if len(rows) == 1 else rows
        features = project(encoder({key: tensor.index_select(0, given) for key, tensor in inputs.items()}))
        return features.new_zeros(len(present), self.config.width).index_copy(0, rows, features[: len(rows)])

    def blocks(self) -> list[str]:
        """The blocks of each modality's encoder, then the layers that join them."""
        names = [f"encoders.{name}.{block}" for name, encoder in self.encoders.items() for block in encoder.blocks()]
        return [*names, "project", "query", "marks", *(f"layers.{i}" for i in range(len(self.layers)))]


def hide_some(present: Tensor, share: float) -> Tensor:
    """Hide each present modality with probability `share`; a row that would lose all keeps all.

    Args:
        present: (n, modalities) bool.
        share: from 0 to 1.
    """
    kept = present & (torch.rand(present.shape, device=present.device) >= share)
    return torch.where(kept.any(1, keepdim=True), kept, present)
