"""Weights by counting nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tl_research.config import WeightingConfig, at_least, check
from tl_research.registry import register_weighting
from tl_research.weighting.neighbours import nearest
from tl_research.weighting.prepared import prepared


@dataclass
class NearestNeighbourWeightConfig(WeightingConfig):
    """Options of nearest-neighbour weighting."""

    name: str = "nearest_neighbour_weight"
    k: int = at_least(1, default=1)  # nearest source rows that a target row counts for
    smoothing: float = at_least(0, default=0.0)  # added to every count; 1 is Laplace's


@register_weighting(
    "nearest_neighbour_weight", config=NearestNeighbourWeightConfig, paper="Loog 2012, MLSP, eq. 4", gain=0.08
)
def nearest_neighbour_weight(
    source: Tensor, target: Tensor, config: NearestNeighbourWeightConfig, *, label: Tensor | None = None, seed: int
) -> tuple[Tensor, dict[str, Any]]:
    """Nearest-neighbour weighting: the number of target rows that lie in a source row's Voronoi cell.

    w_i = #{j : x_i is among the k source rows nearest to z_j} + smoothing.

    Args:
        source: (n, d) standardised, n >= k. target: (m, d), standardised alike.

    Returns:
        (n,) float64 >= 0, sum k m + n smoothing; and facts for the record.

    Raises:
        DataError: rows that are not finite, shapes that do not fit, or fewer source rows than k.

    Reference:
        Loog 2012, Nearest neighbor-based importance weighting (k = 1; smoothing 1 is his Laplace smoothing).
    """
    facts: dict[str, Any] = {}
    rows = prepared(source, target, seed)
    n = len(rows.source)
    check(config.k <= n, "method.weighting.k", config.k, f"at most the {n} source rows")
    _, place = nearest(rows.target, rows.source, config.k)
    count = torch.bincount(place.flatten(), minlength=n).double()
    return rows.restored(count + config.smoothing), facts
