"""k nearest neighbours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tl_research.heads.base import SMALLEST, Head

#: Distances a block: 128 MB of float32.
BLOCK = 1 << 25


def nearest_rows(rows: Tensor, reference: Tensor, k: int = 1) -> Tensor:
    """Places (m, k) of the k nearest reference rows (n, d) of each row (m, d), Euclidean, nearest first, in blocks."""
    # distances do not change with the origin, but their quadratic expansion loses no digits to an offset
    centre = reference.mean(dim=0)
    reference = reference - centre
    half_norms = reference.square().sum(dim=1) / 2
    places = []
    for block in rows.split(max(1, BLOCK // len(reference))):
        distance = torch.addmm(half_norms, block - centre, reference.T, alpha=-1)
        # argmin takes the first of equal rows; topk promises nothing
        places.append(distance.argmin(1, keepdim=True) if k == 1 else distance.topk(k, dim=1, largest=False).indices)
    return torch.cat(places)


class NearestNeighbours(Head):
    """Votes of the k nearest training rows by Euclidean distance; logits are the logs of the shares of votes.

    With one neighbour, of rows at equal distance the first, this is the 1-NN of the alignment papers.
    """

    takes_weights = False

    def __init__(self, neighbours: int = 1):
        super().__init__()
        self.neighbours = neighbours

    def fit(self, features: Tensor, label: Tensor, weight: Tensor | None, *, classes: int, seed: int) -> None:
        self.keep(rows=features.detach().clone(), votes=F.one_hot(label, classes).to(features.dtype))

    def forward(self, features: Tensor) -> Tensor:
        if len(features) == 0:
            return features.new_zeros(0, self.votes.shape[1])
        votes = self.votes[nearest_rows(features, self.rows, min(self.neighbours, len(self.rows)))]
        return votes.mean(dim=1).clamp_min(SMALLEST).log()
