"""No alignment."""

from __future__ import annotations

from torch import Tensor

from tl_research.alignment.base import Alignment


class NoAlignment(Alignment):
    """Rows stay as they are: the baseline of every alignment."""

    def fit(self, source, target, *, labeled=None, classes, seed) -> None:
        """There is nothing to fit."""

    def target(self, x: Tensor) -> Tensor:
        return x
