"""A single decision tree as a head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor

from tl_research.config import check
from tl_research.heads.base import Head
from tl_research.heads.tree_tensors import TreeNodes, TreeTensors, leaf_values, pack

#: Least probability that has a log, where a leaf is given no rows beside its own.
LEAST = 1e-30


@dataclass
class TreeConfig:
    """Options of a single tree: its depth, and what its leaves are smoothed by."""

    depth: int = 3  # most tests on the way to a leaf
    smoothing: float = 20.0  # rows of the classes' own shares that every leaf is given beside its own

    def __post_init__(self):
        check(self.depth >= 1, "depth", self.depth, "1 or more")
        check(0 <= self.smoothing < float("inf"), "smoothing", self.smoothing, "0 or more")


class Tree(Head):
    """A small decision tree by scikit-learn (Gini), kept as tensors and evaluated by torch.

    logits = log p, p_c = (w_c + smoothing · s_c) / (w + smoothing) in the leaf that a row reaches: w_c the weight of
    the leaf's training rows of class c, w that of all its rows, s_c the class's share of the whole weight. nan in a
    feature is a value of its own.

    Reference:
        Breiman, Friedman, Olshen & Stone 1984, Classification and regression trees; Cestnik 1990, ECAI (m-estimate).
    """

    Config = TreeConfig

    def fit(self, features: Tensor, label: Tensor, weight: Tensor | None, *, classes: int, seed: int) -> None:
        weight = None if weight is None else weight.detach().cpu().double().numpy()
        tree = DecisionTreeClassifier(max_depth=self.config.depth, random_state=seed)
        fitted = tree.fit(features.detach().cpu().float().numpy(), label.cpu().numpy(), sample_weight=weight)
        nodes = fitted.tree_
        total = nodes.weighted_n_node_samples[:, None]
        value = nodes.value[:, 0, :]  # shares of the classes by node
        value = np.where(total > 0, value, value[:1])  # a leaf whose rows all weigh nothing says what the root says
        smoothing = self.config.smoothing
        held = np.maximum(total + smoothing, LEAST)
        share = (total * value + smoothing * value[:1]) / held
        trees = [
            TreeNodes(
                feature=nodes.feature,
                threshold=nodes.threshold,
                missing_left=nodes.missing_go_to_left.astype(bool),
                left=nodes.children_left,
                right=nodes.children_right,
                value=share[:, place],
                is_leaf=nodes.children_left < 0,
            )
            for place in range(share.shape[1])
        ]
        device = features.device
        self._buffers.clear()  # a second fit may have another tree
        self._kept.clear()
        self.keep(**{name: tensor.to(device) for name, tensor in pack(trees)._asdict().items()})
        self.keep(
            present=torch.as_tensor(fitted.classes_, dtype=torch.int64, device=device),
            classes=torch.tensor(classes, device=device),
        )

    def forward(self, features: Tensor) -> Tensor:
        trees = TreeTensors(*(self._buffers[name] for name in TreeTensors._fields))
        # scikit-learn compares in float32
        share = leaf_values(trees, features.float())
        logits = share.new_zeros(len(features), int(self.classes))
        logits[:, self.present] = share
        return logits.clamp_min(LEAST).log().to(features.dtype)
