"""k nearest neighbours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tl_research.heads.base import SMALLEST, Head

#: Distances a block: 128 MB of float32.
BLOCK = 1 << 25


class NearestNeighbours(Head):
    """Votes of the k nearest training rows by Euclidean distance; logits are the logs of the shares of votes.

    Of rows at equal distance the first counts. With one neighbour this is the 1-NN of the alignment papers.
    """

    takes_weights = False

    def __init__(self, neighbours: int = 1):
        super().__init__()
        self.neighbours = neighbours

    def fit(self, features: Tensor, label: Tensor, weight: Tensor | None, *, classes: int, seed: int) -> None:
        self.keep_rows(features, F.one_hot(label, classes).to(features.dtype))

    def keep_rows(self, features: Tensor, votes: Tensor) -> None:
        """Keep training rows (n, d) and what each says (n, c)."""
        # distances do not change with the origin, but their quadratic expansion loses no digits to an offset
        centre = features.mean(dim=0)
        rows = features - centre
        self.keep(centre=centre, rows=rows, norms=rows.square().sum(dim=1), votes=votes)

    def forward(self, features: Tensor) -> Tensor:
        return self.mean_of_nearest(features).clamp_min(SMALLEST).log()

    def mean_of_nearest(self, features: Tensor) -> Tensor:
        """Mean of what the k nearest training rows say (n, c)."""
        k = min(self.neighbours, len(self.rows))
        shares = []
        for part in (features - self.centre).split(max(1, BLOCK // len(self.rows))):
            closeness = torch.addmm(self.norms.expand(len(part), -1), part, self.rows.T, beta=-1, alpha=2)
            shares.append(self.votes[closeness.topk(k, dim=1).indices].mean(dim=1))
        return torch.cat(shares) if shares else features.new_zeros(0, self.votes.shape[1])
