"""Weight-decomposed low-rank adaptation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tl_research.adapters.low_rank import bag_sum, low_rank_output, low_rank_pair, low_rank_weight
from tl_research.adapters.merge import MergeableAdapter


class DoRA(MergeableAdapter):
    """A layer of weight W' = m V / ||V||, V = W + (alpha / r) B A, with m = ||W|| and B A = 0 at the start.

    The norm is that of the weights of one output (Linear, Conv) or of one token (Embedding, EmbeddingBag). As the
    paper's section 4.3 has it, the norm is held constant in the gradient. Weights that are all zero, as a
    padding token's, stay zero.

    Args:
        layer: Linear, Conv1d, Conv2d, Embedding or EmbeddingBag; not kept.
        rank: r; at 0 the magnitudes m alone are trained.
        alpha: numerator of the scale of B A.

    Raises:
        ConfigError: an embedding with `max_norm`.

    Reference:
        Liu et al. 2024, arXiv:2402.09353, eq. 5 and 11.
    """

    def __init__(self, layer: nn.Module, *, rank: int, alpha: float):
        super().__init__()
        self.scale = alpha / rank if rank else 0.0
        self.a, self.b = low_rank_pair(layer, rank) if self.scale else (None, None)
        self.magnitude = nn.Parameter(self._row_norms(layer.weight.detach()).clone())

    def adapted(self, layer: nn.Module, inputs: Tensor, output: Tensor) -> Tensor:
        gain = self._gain(layer)
        if isinstance(layer, nn.EmbeddingBag):
            # What each token counts takes up its gain; at gain 1 nothing is added to the layer's own output.
            adapted = output + bag_sum(layer, inputs.weighed(gain - 1), layer.weight)
            if self.scale:
                adapted = adapted + self.scale * low_rank_output(layer, inputs.weighed(gain), self.a, self.b)
            return adapted
        if isinstance(layer, nn.Embedding):
            gain, bias = nn.functional.embedding(inputs, gain.unsqueeze(1), layer.padding_idx), 0.0
        else:
            spatial = [1] * (layer.weight.ndim - 2)
            gain = gain.reshape(-1, *spatial)
            bias = 0.0 if layer.bias is None else layer.bias.reshape(-1, *spatial)
        # Not gain * (output - bias) + bias: at gain 1 the output is to be the layer's own, bit for bit.
        adapted = output + (gain - 1) * (output - bias)
        if self.scale:
            adapted = adapted + gain * self.scale * low_rank_output(layer, inputs, self.a, self.b)
        return adapted

    def merged_weight(self, layer: nn.Module) -> Tensor:
        gain = self._gain(layer)
        return gain.reshape(-1, *[1] * (layer.weight.ndim - 1)) * self._direction(layer)

    def _direction(self, layer: nn.Module) -> Tensor:
        if not self.scale:
            return layer.weight
        return layer.weight + self.scale * low_rank_weight(layer, self.a, self.b)

    def _gain(self, layer: nn.Module) -> Tensor:
        with torch.autocast(layer.weight.device.type, enabled=False):
            norm = self._row_norms(self._direction(layer).detach())
        return torch.where(norm > 0, self.magnitude / norm.where(norm > 0, 1.0), 1.0)

    @staticmethod
    def _row_norms(weight: Tensor) -> Tensor:
        return torch.linalg.vector_norm(weight.flatten(1), dim=1)
