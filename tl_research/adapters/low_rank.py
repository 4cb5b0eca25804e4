"""A change of a layer's weight of low rank, B A, for each kind of layer.

Every weight is seen as a matrix: rows are outputs of a Linear or Conv, columns its inputs (a Conv's are its input
channels of one group times its taps); an Embedding's is the matrix of the one-hot token, features by tokens, and so is
that of an EmbeddingBag, whose input is the row of how much each token counts.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tl_research.adapters.base import Bag
from tl_research.errors import ConfigError

EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


def low_rank_pair(layer: nn.Module, rank: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Return A (rank, inputs) and B (outputs, rank) with B A = 0: one is random, the other zero.

    Zero is B, but for an Embedding A, so that the padding token, whose column of A has no gradient, stays as it is.
    A is drawn as the weight of a Linear is, an Embedding's B from N(0, 1), as in the authors' code.

    Raises:
        ConfigError: an Embedding with `max_norm`, which rewrites its own weight.
    """
    if isinstance(layer, EMBEDDINGS):
        if layer.max_norm is not None:
            raise ConfigError("adapter: an Embedding with max_norm rewrites its own weight, so it cannot be frozen")
        a, b = torch.zeros(rank, layer.num_embeddings), torch.randn(layer.embedding_dim, rank)
    else:
        a, b = torch.empty(rank, layer.weight[0].numel()), torch.zeros(layer.weight.shape[0], rank)
        if rank:
            nn.init.kaiming_uniform_(a, a=math.sqrt(5))
    return nn.Parameter(a), nn.Parameter(b)


def low_rank_output(layer: nn.Module, inputs: Tensor | Bag, a: Tensor, b: Tensor) -> Tensor:
    """Return what a layer of weight B A and no bias would put out, without forming B A."""
    if isinstance(layer, nn.Linear):
        return F.linear(F.linear(inputs, a), b)
    if isinstance(layer, nn.Embedding):
        return F.linear(F.embedding(inputs, a.T, padding_idx=layer.padding_idx), b)
    if isinstance(layer, nn.EmbeddingBag):
        return F.linear(bag_sum(layer, inputs, a.T), b)
    # Each group has its own inputs but the same A; B's rows are dealt to the groups as the outputs are.
    taps = a.unflatten(1, layer.weight.shape[1:])
    inner = layer._conv_forward(inputs, taps.repeat(layer.groups, *[1] * (taps.ndim - 1)), None)
    convolve = F.conv1d if isinstance(layer, nn.Conv1d) else F.conv2d
    return convolve(inner, b.reshape(*b.shape, *[1] * (taps.ndim - 2)), groups=layer.groups)


def low_rank_weight(layer: nn.Module, a: Tensor, b: Tensor) -> Tensor:
    """Return B A in the shape of the layer's weight."""
    product = b @ a
    return product.T if isinstance(layer, EMBEDDINGS) else product.reshape(layer.weight.shape)


def bag_sum(layer: nn.EmbeddingBag, inputs: Bag, weight: Tensor) -> Tensor:
    """Return the layer's sum over each bag, of other vectors (tokens, width) than its own."""
    return F.embedding_bag(
        inputs.index, weight, mode="sum", per_sample_weights=inputs.weight, padding_idx=layer.padding_idx
    )
