"""The nearest class centre."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tl_research.alignment.easy_tl import class_centres
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
