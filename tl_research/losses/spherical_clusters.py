"""Spherical k-means from given centres."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Clusters(NamedTuple):
    """What `spherical_clusters` found.

    Fields:
        label: (n,) int64, the nearest centre of each row.
        distance: (n,) half of one minus the cosine to it, from 0 to 1.
        centres: (k, d), of length 1.
    """

    label: Tensor
    distance: Tensor
    centres: Tensor


def spherical_clusters(rows: Tensor, centres: Tensor, *, most_rounds: int = 20) -> Clusters:
    """Cluster rows by the cosine: rows go to the nearest centre, centres to the sum of their rows' directions.

    It ends where no row moves, or after `most_rounds`. A centre without rows stays where it is. No gradient.

    Args:
        rows: (n, d) float, n >= 1.
        centres: (k, d) float, where to begin.
        most_rounds: at least 1.

    Raises:
        ValueError: shapes that do not fit, or no round.

    Reference:
        Kang et al. 2019, CVPR, section 3.4; Dhillon & Modha 2001, Machine Learning 42.
    """
    if rows.ndim != 2 or centres.ndim != 2 or rows.shape[1] != centres.shape[1] or not len(rows):
        raise ValueError(f"spherical_clusters: got {tuple(rows.shape)}, {tuple(centres.shape)}, wants (n, d), (k, d)")
    if most_rounds < 1:
        raise ValueError(f"spherical_clusters: got {most_rounds} rounds, wants 1 or more")
    with torch.no_grad(), torch.autocast(rows.device.type, enabled=False):
        unit = F.normalize(rows.to(torch.promote_types(rows.dtype, torch.float32)), dim=1)
        centres = F.normalize(centres.to(unit.dtype), dim=1)
        label = (unit @ centres.T).argmax(dim=1)
        for _ in range(most_rounds):
            sums = torch.zeros_like(centres).index_add_(0, label, unit)
            has_rows = torch.bincount(label, minlength=len(centres)) > 0
            centres = torch.where(has_rows[:, None], F.normalize(sums, dim=1), centres)
            before, label = label, (unit @ centres.T).argmax(dim=1)
            if torch.equal(before, label):
                break
        cosine = (unit * centres[label]).sum(dim=1)
        return Clusters(label, 0.5 * (1 - cosine), centres)
