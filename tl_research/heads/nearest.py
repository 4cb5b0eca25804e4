"""k nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tl_research.config import check
from tl_research.errors import DataError
from tl_research.heads.base import SMALLEST, Head, register_head
from tl_research.heads.support import support

#: Rows and reference rows of one tile of distances, which is read again while it is in a processor's cache.
TILE = (512, 1024)
ACCELERATOR_TILE = (8192, 16384)


def nearest_rows(rows: Tensor, reference: Tensor, k: int = 1) -> Tensor:
    """Places (m, k) of the k nearest reference rows (n, d) of each row (m, d), Euclidean, nearest first, by tiles.

    With k = 1 the first of rows at equal distance.
    """
    # distances do not change with the origin, but their quadratic expansion loses no digits to an offset
    centre = reference.mean(dim=0)
    reference = reference - centre
    half_norms = reference.square().sum(dim=1) / 2
    tile = TILE if rows.device.type == "cpu" else ACCELERATOR_TILE
    if k > 1:  # every distance of a row is needed at once
        tile = (max(1, tile[0] * tile[1] // len(reference)), len(reference))
    places = [rows.new_zeros(0, k, dtype=torch.long)]
    for part in rows.split(tile[0]):
        part, best = part - centre, None
        for start in range(0, len(reference), tile[1]):
            columns = slice(start, start + tile[1])
            distance = torch.addmm(half_norms[columns], part, reference[columns].T, alpha=-1)
            if k > 1:
                best = distance.topk(k, dim=1, largest=False)
                continue
            value, place = distance.min(dim=1, keepdim=True)
            if best is None:
                best = value, place
            else:
                nearer = value < best[0]
                best = torch.where(nearer, value, best[0]), torch.where(nearer, place + start, best[1])
        places.append(best[1])
    return torch.cat(places)


@dataclass
class NeighboursConfig:
    """Options of `nearest_neighbours`: how many of them vote."""

    neighbours: int = 1  # k

    def __post_init__(self):
        check(self.neighbours >= 1, "neighbours", self.neighbours, "at least 1")


@register_head("nearest_neighbours", config=NeighboursConfig)
class NearestNeighbours(Head):
    """Votes of the k nearest training rows by Euclidean distance; logits are the logs of the shares of votes.

    With one neighbour, of rows at equal distance the first, this is the 1-NN of the alignment papers.
    """

    takes_weights = False

    def fit(self, features: Tensor, label: Tensor, weight: Tensor | None, *, classes: int, seed: int) -> None:
        self.check_weight(weight)
        support(label, weight, classes)  # refuses what is no label
        self.keep_rows(features, F.one_hot(label, classes).to(features.dtype))

    def check_weight(self, weight: Tensor | None) -> None:
        """Refuse weights, which would change nothing."""
        if weight is not None:
            raise DataError("head 'nearest_neighbours' takes no weights; 'logistic' does")

    def keep_rows(self, features: Tensor, votes: Tensor) -> None:
        """Keep training rows (n, d) and what each says (n, c)."""
        self.keep(rows=features.detach().clone(), votes=votes)

    def forward(self, features: Tensor) -> Tensor:
        return self.mean_of_nearest(features).clamp_min(SMALLEST).log()

    def mean_of_nearest(self, features: Tensor) -> Tensor:
        """Mean of what the k nearest training rows say (n, c)."""
        if len(features) == 0:
            return features.new_zeros(0, self.votes.shape[1])
        return self.votes[nearest_rows(features, self.rows, min(self.config.neighbours, len(self.rows)))].mean(dim=1)
