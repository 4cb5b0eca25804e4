"""Nearest rows by tiles."""

from __future__ import annotations

import torch
from sklearn.neighbors import KDTree
from torch import Tensor

from tl_research.weighting.base import note
from tl_research.weighting.rows import tiles

#: Up to this many columns a tree is faster than all distances.
TREE_COLUMNS = 10
#: Pairs of rows from which all distances are taken in float32.
SINGLE_PRECISION_PAIRS = 2_000_000_000
#: float32 numbers of a tile (16 MB): a tile is read again at once, so it should stay in the cache.
SEARCH_TILE = 4_000_000


def nearest(queries: Tensor, rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Distances and places (q, k) of the k nearest of `rows` for each query, nearest first; both centred.

    By a k-d tree where there are few columns, else by all distances, tile by tile: in float32 from
    `SINGLE_PRECISION_PAIRS` pairs (two rows whose distances agree to about six digits may then change places), which
    the facts record.
    """
    columns = rows.shape[1]
    if columns <= TREE_COLUMNS:
        note(search="tree")
        distance, place = KDTree(rows.cpu().numpy()).query(queries.cpu().numpy(), k=k)
        return torch.as_tensor(distance, device=rows.device), torch.as_tensor(place, device=rows.device)
    single = len(queries) * len(rows) >= SINGLE_PRECISION_PAIRS
    note(search="all_pairs_float32" if single else "all_pairs")
    if single:
        queries, rows = queries.float(), rows.float()
    transposed, norms = rows.T.contiguous(), rows.square().sum(dim=1)
    distances, places = [], []
    for part in tiles(len(queries), len(rows), SEARCH_TILE):
        query = queries[part]
        # ||query||² is the same for every row of a line, and is added to those that are kept.
        relative = torch.addmm(norms, query, transposed, alpha=-2)
        if k == 1:
            value, place = relative.min(dim=1, keepdim=True)
        else:
            value, place = relative.topk(k, dim=1, largest=False)
        distances.append((value + query.square().sum(dim=1)[:, None]).clamp_min(0).sqrt().double())
        places.append(place)
    return torch.cat(distances), torch.cat(places)
