"""Regression trees as tensors: evaluated by torch, kept in buffers, loaded without unpickling anything."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

#: (row, tree) pairs walked at a time.
CHUNK_PAIRS = 1 << 22


class TreeTensors(NamedTuple):
    """T trees, padded to the same number of nodes N; a leaf's children are itself.

    Fields:
        feature: (T, N) int32 column that the node tests.
        threshold: (T, N) float64; a row goes left where its value is at most this.
        missing_left: (T, N) bool; whether nan goes left.
        left, right: (T, N) int32 children.
        value: (T, N) float64 of the leaves.
        depth: () int32 steps from root to the deepest leaf.
    """

    feature: Tensor
    threshold: Tensor
    missing_left: Tensor
    left: Tensor
    right: Tensor
    value: Tensor
    depth: Tensor


def from_scikit_learn(nodes: list[np.ndarray]) -> TreeTensors:
    """Take the node tables of the trees of a `HistGradientBoosting...` model (numerical splits only).

    Args:
        nodes: for each tree its structured array (`TreePredictor.nodes`).

    Raises:
        ValueError: a split on categories.
    """
    shape = len(nodes), max(len(table) for table in nodes)
    fields = {name: np.zeros(shape, np.int32) for name in ("feature", "left", "right")}
    threshold, value, missing_left = np.zeros(shape), np.zeros(shape), np.zeros(shape, bool)
    for tree, table in enumerate(nodes):
        if table["is_categorical"].any():
            raise ValueError("trees that split on categories cannot be taken over")
        count, leaf, own = len(table), table["is_leaf"].astype(bool), np.arange(len(table))
        fields["feature"][tree, :count] = np.where(leaf, 0, table["feature_idx"])
        fields["left"][tree, :count] = np.where(leaf, own, table["left"])
        fields["right"][tree, :count] = np.where(leaf, own, table["right"])
        threshold[tree, :count] = table["num_threshold"]
        missing_left[tree, :count] = table["missing_go_to_left"].astype(bool)
        value[tree, :count] = table["value"]
    depth = torch.tensor(max(int(table["depth"].max()) for table in nodes), dtype=torch.int32)
    taken = {name: torch.from_numpy(table) for name, table in fields.items()}
    return TreeTensors(
        threshold=torch.from_numpy(threshold),
        missing_left=torch.from_numpy(missing_left),
        value=torch.from_numpy(value),
        depth=depth,
        **taken,
    )


def leaf_values(trees: TreeTensors, x: Tensor) -> Tensor:
    """Return the value of the leaf that each row (n, d) reaches in each tree, (n, T) float64."""
    rows = max(1, CHUNK_PAIRS // len(trees.value))
    if len(x) == 0:
        return trees.value.new_zeros(0, len(trees.value))
    return torch.cat([_walk(trees, part.double()) for part in x.split(rows)])


def _walk(trees: TreeTensors, x: Tensor) -> Tensor:
    count, nodes = trees.value.shape
    flat = {name: getattr(trees, name).reshape(-1) for name in trees._fields if name != "depth"}
    root = torch.arange(count, device=x.device) * nodes
    place = root.expand(len(x), count)
    for _ in range(int(trees.depth)):
        tested = x.gather(1, flat["feature"][place].long())
        goes_left = torch.where(tested.isnan(), flat["missing_left"][place], tested <= flat["threshold"][place])
        place = root + torch.where(goes_left, flat["left"][place], flat["right"][place])
    return flat["value"][place]
