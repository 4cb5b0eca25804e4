"""Regression trees as tensors: evaluated by torch, kept in buffers, loaded without unpickling anything."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

#: (row, tree) pairs walked at a time.
CHUNK_PAIRS = 1 << 22
#: From so many rows on they go tree by tree.
MANY_ROWS = 200


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


class TreeNodes(NamedTuple):
    """One tree of N nodes as arrays (N,), the root first; fields as in `TreeTensors`. What a leaf tests is ignored."""

    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray
    is_leaf: np.ndarray


def pack(trees: list[TreeNodes]) -> TreeTensors:
    """Pad trees to the largest of them."""
    shape = len(trees), max(len(tree.value) for tree in trees)
    packed = {name: np.zeros(shape, np.int32) for name in ("feature", "left", "right")}
    packed |= {"threshold": np.zeros(shape), "value": np.zeros(shape), "missing_left": np.zeros(shape, bool)}
    for index, tree in enumerate(trees):
        count, own = len(tree.value), np.arange(len(tree.value))
        packed["feature"][index, :count] = np.where(tree.is_leaf, 0, tree.feature)
        packed["left"][index, :count] = np.where(tree.is_leaf, own, tree.left)
        packed["right"][index, :count] = np.where(tree.is_leaf, own, tree.right)
        packed["value"][index, :count] = np.where(tree.is_leaf, tree.value, 0.0)
        packed["threshold"][index, :count] = np.where(tree.is_leaf, 0.0, tree.threshold)
        packed["missing_left"][index, :count] = np.where(tree.is_leaf, False, tree.missing_left)
    depth = torch.tensor(max(_depth(tree) for tree in trees), dtype=torch.int32)
    return TreeTensors(depth=depth, **{name: torch.from_numpy(table) for name, table in packed.items()})


def from_scikit_learn(nodes: list[np.ndarray]) -> TreeTensors:
    """Take the node tables of the trees of a `HistGradientBoosting...` model (numerical splits only).

    Args:
        nodes: for each tree its structured array (`TreePredictor.nodes`).

    Raises:
        ValueError: a split on categories.
    """
    trees = []
    for table in nodes:
        if table["is_categorical"].any():
            raise ValueError("trees that split on categories cannot be taken over")
        columns = ("feature_idx", "num_threshold", "missing_go_to_left", "left", "right", "value", "is_leaf")
        *tested, is_leaf = (table[name] for name in columns)
        trees.append(TreeNodes(*tested, is_leaf=is_leaf.astype(bool)))
    return pack(trees)


def _depth(tree: TreeNodes) -> int:
    depth, level = 0, np.array([0])
    while len(level := level[~tree.is_leaf[level]]):
        level = np.concatenate([tree.left[level], tree.right[level]]).astype(np.int64)
        depth += 1
    return depth


def leaf_values(trees: TreeTensors, x: Tensor) -> Tensor:
    """Return the value of the leaf that each row (n, d) reaches in each tree, (n, T) float64.

    On the processor many rows go tree by tree, whose nodes then stay in its cache; few rows, and rows elsewhere, walk
    down all trees at once. The values are the same.
    """
    rows = max(1, CHUNK_PAIRS // len(trees.value))
    if len(x) == 0:
        return trees.value.new_zeros(0, len(trees.value))
    if x.device.type == "cpu" and len(x) >= MANY_ROWS:
        return torch.from_numpy(
            np.concatenate([_tree_by_tree(trees, part.detach().double().numpy()) for part in x.split(rows)])
        )
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


def _tree_by_tree(trees: TreeTensors, x: np.ndarray) -> np.ndarray:
    """Return (n, T) leaf values for rows (n, d); a row that has reached its leaf is walked no further."""
    cells, rows, missing = np.ascontiguousarray(x.T).ravel(), np.arange(len(x)), bool(np.isnan(x).any())
    found = np.empty((len(trees.value), len(x)))
    names = ("feature", "threshold", "missing_left", "left", "right", "value")
    for tree, table in enumerate(zip(*(getattr(trees, name).cpu().numpy() for name in names), strict=True)):
        feature, threshold, missing_left, left, right, value = table
        column = feature.astype(np.intp) * len(x)
        child = np.stack([right, left], axis=1).astype(np.intp).ravel()
        is_leaf = left == np.arange(len(left))
        walking, place = rows, np.zeros(len(x), np.intp)
        if is_leaf[0]:
            found[tree] = value[0]
            continue
        while len(walking):
            tested = cells.take(walking + column.take(place))
            goes_left = tested <= threshold.take(place)
            if missing:
                goes_left = np.where(np.isnan(tested), missing_left.take(place), goes_left)
            place = child.take(2 * place + goes_left)
            arrived = is_leaf.take(place)
            found[tree, walking[arrived]] = value.take(place[arrived])
            walking, place = walking[~arrived], place[~arrived]
    return np.ascontiguousarray(found.T)
