"""Nearest rows."""

from __future__ import annotations

import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor


def nearest(queries: Tensor, rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Distances and places (q, k) of the k nearest of `rows` for each query, nearest first; on the processor.

    scikit-learn searches a k-d tree where the columns are few, and all pairs by blocks in float64 otherwise.
    """
    search = NearestNeighbors(n_neighbors=k).fit(rows.cpu().numpy())
    distance, place = search.kneighbors(queries.cpu().numpy())
    return tuple(torch.as_tensor(found, device=rows.device) for found in (distance, place))
