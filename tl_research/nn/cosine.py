"""A head that compares directions."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CosineHead(nn.Module):
    """Logits are cosines of features and class prototypes, over a temperature: z_c = f · w_c / (|f| |w_c| T).

    Args:
        features: width of a row.
        classes: number of outputs.
        temperature: T > 0.
    """

    def __init__(self, features: int, classes: int, *, temperature: float):
        super().__init__()
        self.temperature = temperature
        self.weight = nn.Parameter(torch.empty(classes, features))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    @property
    def prototypes(self) -> Tensor:
        """The classes' directions (classes, features), of length 1."""
        return F.normalize(self.weight, dim=1)

    def forward(self, features: Tensor) -> Tensor:
        return F.linear(F.normalize(features, dim=1), self.prototypes) / self.temperature
