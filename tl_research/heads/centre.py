"""The nearest class centre."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tl_research.heads.base import SMALLEST, Head
from tl_research.heads.support import support


class NearestCentre(Head):
    """Logits are the negative Euclidean distances to the (weighted) mean of each class's training rows.

    A class without training rows that weigh gets a logit below those of all others.
    """

    def fit(self, features: Tensor, label: Tensor, weight: Tensor | None, *, classes: int, seed: int) -> None:
        found = support(label, weight, classes)
        centres = class_centres(features, label, classes, weight)
        present = torch.zeros(classes, dtype=torch.bool, device=label.device).index_fill(0, found.present, True)
        self.keep(centres=centres.where(present[:, None], 0.0), present=present)

    def forward(self, features: Tensor) -> Tensor:
        centres = self.centres.to(features.dtype)
        distance = torch.cdist(features, centres, compute_mode="donot_use_mm_for_euclid_dist")
        farthest = torch.where(self.present, distance, 0.0).amax(dim=1, keepdim=True)
        return -torch.where(self.present, distance, farthest - math.log(SMALLEST))


def class_centres(x: Tensor, label: Tensor, classes: int, weight: Tensor | None = None) -> Tensor:
    """(Weighted) mean of each class's rows, (classes, d) float64; NaN rows for classes that have none."""
    weight = torch.ones_like(label, dtype=torch.float64) if weight is None else weight.double()
    member = torch.zeros(classes, len(x), dtype=torch.float64, device=x.device)
    member[label.long(), torch.arange(len(x), device=x.device)] = weight
    offset = x.double().mean(dim=0)
    return member @ (x.double() - offset) / member.sum(dim=1, keepdim=True) + offset


def centre_distances(x: Tensor, centres: Tensor) -> Tensor:
    """Euclidean distances (n, classes) in float64; infinite to a class without a centre."""
    present = ~centres.isnan().any(dim=1)
    distance = x.new_full((len(x), len(centres)), torch.inf, dtype=torch.float64)
    distance[:, present] = torch.cdist(x.double(), centres[present], compute_mode="donot_use_mm_for_euclid_dist")
    return distance


def nearest_centre(x: Tensor, centres: Tensor) -> Tensor:
    """Class of the nearest centre, (n,): what a row that was not in the programme gets.

    For rows that were, it differs only where the programme had to fill an empty class.
    """
    return centre_distances(x, centres).argmin(dim=1)
