"""The head of an alignment that is a classifier."""

from __future__ import annotations

from torch import Tensor

from tl_research.heads.base import Head


class Outputs(Head):
    """The mapped rows are the logits; nothing is fitted."""

    def fit(self, features: Tensor, label: Tensor, weight: Tensor | None, *, classes: int, seed: int) -> None:
        """There is nothing to fit."""

    def forward(self, features: Tensor) -> Tensor:
        return features
