"""Low-rank adaptation."""

from __future__ import annotations

from torch import Tensor, nn

from tl_research.adapters.low_rank import low_rank_output, low_rank_pair, low_rank_weight
from tl_research.adapters.merge import MergeableAdapter


class LoRA(MergeableAdapter):
    """A layer of weight W' = W + (alpha / r) B A, with W frozen and B A zero at the start.

    Args:
        layer: Linear, Conv1d, Conv2d, Embedding or EmbeddingBag; not kept.
        rank: r; 0 leaves the layer as it is.
        alpha: numerator of the scale; 0 leaves the layer as it is.

    Raises:
        ConfigError: an embedding with `max_norm`.

    Reference:
        Hu et al. 2021, arXiv:2106.09685, eq. 3.
    """

    def __init__(self, layer: nn.Module, *, rank: int, alpha: float):
        super().__init__()
        self.scale = alpha / rank if rank else 0.0
        self.a, self.b = low_rank_pair(layer, rank) if self.scale else (None, None)

    def adapted(self, layer: nn.Module, inputs: Tensor, output: Tensor) -> Tensor:
        return output + self.scale * low_rank_output(layer, inputs, self.a, self.b) if self.scale else output

    def merged_weight(self, layer: nn.Module) -> Tensor:
        return layer.weight + self.scale * low_rank_weight(layer, self.a, self.b) if self.scale else layer.weight
