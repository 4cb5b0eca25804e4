"""The residual bottleneck adapter."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tl_research.adapters.base import Adapter


class Bottleneck(Adapter):
    """A layer whose output h becomes h + scale * (U gelu(D h + d) + u), with U = 0 and u = 0 at the start.

    D and U act on the features of a Linear, Embedding or EmbeddingBag and on the channels of a Conv (a convolution of
    one tap). What an Embedding gives for its padding token stays as it is.

    Args:
        layer: Linear, Conv1d, Conv2d, Embedding or EmbeddingBag; not kept.
        width: of the bottleneck; 0 leaves the layer as it is.
        scale: factor on the change; 0 leaves the layer as it is.

    Reference:
        Houlsby et al. 2019, ICML, section 2.1; channels: Rebuffi et al. 2017, NeurIPS, eq. 2.
    """

    def __init__(self, layer: nn.Module, *, width: int, scale: float = 1.0):
        super().__init__()
        self.scale = scale if width else 0.0
        if not self.scale:
            return
        features = layer.embedding_dim if isinstance(layer, (nn.Embedding, nn.EmbeddingBag)) else layer.weight.shape[0]
        self.down, self.up = nn.Linear(features, width), nn.Linear(width, features)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, layer: nn.Module, inputs: Tensor, output: Tensor) -> Tensor:
        if not self.scale:
            return output
        channels = -1 if layer.weight.ndim == 2 else 1 - layer.weight.ndim
        change = self.up(F.gelu(self.down(output.movedim(channels, -1)))).movedim(-1, channels)
        if isinstance(layer, nn.Embedding) and layer.padding_idx is not None:
            change = change * (inputs != layer.padding_idx).unsqueeze(-1)
        return output + self.scale * change
