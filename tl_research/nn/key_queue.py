"""The latest keys of each class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class KeyQueue(nn.Module):
    """The latest `size` keys of each class, in buffers.

    Args:
        classes: number of classes.
        size: number of keys kept per class.
        width: number of features of a key.
    """

    def __init__(self, classes: int, size: int, width: int):
        super().__init__()
        self.classes, self.size = classes, size
        self.register_buffer("keys", torch.zeros(classes * size, width))
        self.register_buffer("label", torch.full((classes * size,), -1))  # -1: empty
        self.register_buffer("next", torch.zeros(classes, dtype=torch.long))

    @torch.no_grad()
    def push(self, keys: Tensor, label: Tensor) -> None:
        """Add keys (n, width) of classes `label` (n,). Each takes the place of the oldest key of its class."""
        member = F.one_hot(label, self.classes)
        earlier = (member.cumsum(dim=0) - member).gather(1, label[:, None]).squeeze(1)
        count = member.sum(dim=0)
        kept = earlier >= count[label] - self.size  # of more than `size` keys of one class, the last ones
        label, earlier, keys = label[kept], earlier[kept], keys[kept]
        place = label * self.size + (self.next[label] + earlier) % self.size
        self.keys[place] = keys.to(self.keys.dtype)
        self.label[place] = label
        self.next.add_(count).remainder_(self.size)
