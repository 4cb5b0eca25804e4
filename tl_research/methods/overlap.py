"""`Overlap`: how much each user has bought in the sources and in the target, as buffers."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.interactions.training import Training
from tl_research.nn.fitted import Fitted


class Overlap(Fitted):
    """Numbers of items that each user has bought: `sources` (U, 1), in any of them, and `target` (U, 1), float32."""

    sources: Tensor
    target: Tensor

    def learn(self, training: Training) -> None:
        """Keep the counts of training purchases."""
        counts = (torch.as_tensor(matrix.sum(axis=1)).reshape(-1, 1) for matrix in (training.other, training.own))
        sources, target = (count.float() for count in counts)
        self.keep(sources=sources, target=target)

    @property
    def in_both(self) -> Tensor:
        """(U,) whether a user has bought in a source and in the target."""
        return ((self.sources > 0) & (self.target > 0))[:, 0]

    @property
    def target_share(self) -> Tensor:
        """(U, 1) of a user's purchases those in the target; 0 for a user without any."""
        return self.target / (self.sources + self.target).clamp_min(1)
