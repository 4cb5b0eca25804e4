"""The latest keys of each class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class KeyQueue(nn.Module):
    """Keeps the latest `size` keys of each class, in buffers.

    Args:
        classes: number of classes.
        size: keys kept of each.
        width: of a key.
    """

    def __init__(self, classes: int, size: int, width: int):
        super().__init__()
        self.classes, self.size = classes, size
        self.register_buffer("keys", torch.zeros(classes * size, width))
        self.register_buffer("label", torch.full((classes * size,), -1))  # -1: empty
        self.register_buffer("next", torch.zeros(classes, dtype=torch.long))

    @torch.no_grad()
    def push(self, keys: Tensor, label: Tensor) -> None:
        """Add keys (n, width) of classes `label` (n,), each in the place of its class's oldest."""
        member = F.one_hot(label, self.classes)
        earlier = (member.cumsum(dim=0) - member).gather(1, label[:, None]).squeeze(1)
        count = member.sum(dim=0)
        kept = earlier >= count[label] - self.size  # of more than `size` of one class the last
        label, earlier, keys = label[kept], earlier[kept], keys[kept]
        place = label * self.size + (self.next[label] + earlier) % self.size
        self.keys[place] = keys.to(self.keys.dtype)
        self.label[place] = label
        self.next.add_(count).remainder_(self.size)
