"""Every kind of layer that takes an adapter, with rows for it."""

import torch
from torch import nn

from tl_research.adapters.base import attach

LAYERS = {
    "linear": lambda: nn.Linear(7, 5),
    "linear_no_bias": lambda: nn.Linear(7, 5, bias=False),
    "conv1d": lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2),
    "conv2d": lambda: nn.Conv2d(4, 6, 3, padding=1),
    "conv2d_groups": lambda: nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), groups=2),
    "conv2d_depthwise": lambda: nn.Conv2d(4, 4, 3, padding="same", groups=4, bias=False),
    "conv2d_reflect": lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
    "embedding": lambda: nn.Embedding(9, 5),
    "embedding_padding": lambda: nn.Embedding(9, 5, padding_idx=2),
    "bag": lambda: nn.EmbeddingBag(9, 5, mode="sum"),
    "bag_padding": lambda: nn.EmbeddingBag(9, 5, mode="sum", padding_idx=2),
}


def layer_and_rows(kind: str, dtype=torch.float64, seed: int = 0):
    torch.manual_seed(seed)
    layer = LAYERS[kind]().to(dtype)
    if isinstance(layer, (nn.Embedding, nn.EmbeddingBag)):
        return layer, torch.randint(0, 9, (8, 3)).index_fill(1, torch.tensor([1]), 2)
    shape = {"linear": (8, 3, 7), "conv1d": (8, 4, 11), "conv2d": (8, 4, 9, 8)}[kind.split("_")[0]]
    return layer, torch.randn(shape, dtype=dtype)


def adapted(kind: str, make, dtype=torch.float64, *, trained: bool = True):
    """A layer with its adapter, moved from its start where `trained`, and rows."""
    layer, rows = layer_and_rows(kind, dtype)
    bare = [parameter.detach().clone() for parameter in layer.parameters()]
    network = nn.Sequential(layer)
    assert attach(network, make) == ["0"]
    if trained:
        train_a_little(network, rows)
    for parameter, before in zip([p for n, p in layer.named_parameters() if "adapter" not in n], bare, strict=True):
        assert torch.equal(parameter, before)
    return network, rows


def train_a_little(network, rows, steps: int = 8):
    own = [p for name, p in network.named_parameters() if "adapter" in name]
    optimizer = torch.optim.SGD(own, lr=0.05)
    goal = torch.randn(network(rows).shape, dtype=next(network.parameters()).dtype)
    for _ in range(steps):
        optimizer.zero_grad()
        (network(rows) - goal).square().mean().backward()
        optimizer.step()
