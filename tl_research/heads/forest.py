"""A random forest as a head, of classes and of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from torch import Tensor

from tl_research.config import added_later, check
from tl_research.heads.base import Head, register_head
from tl_research.heads.support import check_weight, support
from tl_research.heads.tree_tensors import TreeNodes, TreeTensors, leaf_values, pack

#: Probability that all classes share: a forest has leaves of one class, whose log is not finite.
SHARED = 1e-3


@dataclass
class ForestConfig:
    """Options of `Forest` and `ForestRegression`."""

    trees: int = 300
    min_rows: int = 2  # fewest rows per leaf
    leaves: int = 1024  # most leaves per tree, the best splits first; it bounds the size of the model file
    rows: int | None = added_later(None)  # most rows drawn for a tree; null: as many as there are

    def __post_init__(self):
        check(self.trees >= 1, "trees", self.trees, "1 or more")
        check(self.min_rows >= 1, "min_rows", self.min_rows, "1 or more")
        check(self.leaves >= 2, "leaves", self.leaves, "2 or more")
        check(self.rows is None or self.rows >= 1, "rows", self.rows, "null, or 1 or more")


class KeptTrees(Head):
    """Trees of scikit-learn that a head keeps as tensors; a row's value is the mean over the trees."""

    Config = ForestConfig

    def growth(self, rows: int, seed: int) -> dict[str, Any]:
        """Return the options of scikit-learn's forest for a number of rows; the threads do not change the trees."""
        config = self.config
        most = None if config.rows is None or config.rows >= rows else config.rows
        return {
            "n_estimators": config.trees,
            "min_samples_leaf": config.min_rows,
            "max_leaf_nodes": config.leaves,
            "max_samples": most,
            "random_state": seed,
            "n_jobs": torch.get_num_threads(),
        }

    def keep_trees(self, fitted, values: list[np.ndarray], device: torch.device) -> None:
        """Keep the trees of a fitted forest.

        Args:
            fitted: scikit-learn's forest of T trees.
            values: for each tree (nodes, outputs), what the forest says in each node.
            device: of the tensors.
        """
        self._buffers.clear()  # a second fit may have other trees and classes
        self._kept.clear()
        trees = [
            TreeNodes(
                feature=tree.tree_.feature,
                threshold=tree.tree_.threshold,
                missing_left=tree.tree_.missing_go_to_left.astype(bool),
                left=tree.tree_.children_left,
                right=tree.tree_.children_right,
                value=value[:, output],
                is_leaf=tree.tree_.children_left < 0,
            )
            for output in range(values[0].shape[1])
            for tree, value in zip(fitted.estimators_, values, strict=True)
        ]
        self.keep(**{name: tensor.to(device) for name, tensor in pack(trees)._asdict().items()})

    def means(self, features: Tensor, outputs: int) -> Tensor:
        """Return (n, outputs) float64, the mean over the trees for features (n, d)."""
        trees = TreeTensors(*(self._buffers[name] for name in TreeTensors._fields))
        # scikit-learn compares in float32
        values = leaf_values(trees, features.float())
        return values.view(len(features), outputs, len(trees.value) // outputs).mean(dim=2)


@register_head("forest", config=ForestConfig)
class Forest(KeptTrees):
    """Random forest by scikit-learn (Gini, √d columns per split); its trees are kept as tensors, evaluated by torch.

    logits = log((1 - s) p + s / C), p (C,) the mean over the trees of the classes' shares in the leaf that a row
    reaches, C the classes present and s = `SHARED`. nan in a feature is a value of its own.

    Reference:
        Breiman 2001, Machine Learning 45(1).
    """

    def fit(self, features: Tensor, label: Tensor, weight: Tensor | None, *, classes: int, seed: int) -> None:
        found = support(label, weight, classes)
        device = features.device
        self._buffers.clear()
        self._kept.clear()
        if len(found.present) > 1:
            x, y, w = _arrays(found.of(features), found.label, found.weight)
            fitted = RandomForestClassifier(**self.growth(len(x), seed)).fit(x, y, sample_weight=w)
            # The first class has what the others leave.
            values = [_shares(tree.tree_)[:, 1:] for tree in fitted.estimators_]
            self.keep_trees(fitted, values, device)
        self.keep(present=found.present, classes=torch.tensor(classes, device=device))

    def forward(self, features: Tensor) -> Tensor:
        count = len(self.present)
        share = torch.ones(len(features), count, dtype=torch.float64, device=features.device)
        if count > 1:
            later = self.means(features, count - 1)
            share = torch.cat([1 - later.sum(dim=1, keepdim=True), later], dim=1)
        probability = share.new_full((len(features), int(self.classes)), 1e-30)
        probability[:, self.present] = (1 - SHARED) * share.clamp_min(0) + SHARED / count
        return probability.log().to(features.dtype)


@register_head("forest", config=ForestConfig, targets=("regression",))
class ForestRegression(KeptTrees):
    """Random forest of the squared error by scikit-learn; output (n, 1), the mean over the trees.

    Reference:
        Breiman 2001, Machine Learning 45(1).
    """

    def fit(self, features: Tensor, label: Tensor, weight: Tensor | None, *, classes: int, seed: int) -> None:
        check_weight(weight, len(label))
        x, y, w = _arrays(features, label, weight)
        fitted = RandomForestRegressor(**self.growth(len(x), seed), max_features=1 / 3).fit(x, y, sample_weight=w)
        self.keep_trees(fitted, [tree.tree_.value[:, 0, :] for tree in fitted.estimators_], features.device)

    def forward(self, features: Tensor) -> Tensor:
        return self.means(features, 1).to(features.dtype)


def _shares(nodes) -> np.ndarray:
    value = nodes.value[:, 0, :]
    total = value.sum(axis=1, keepdims=True)
    return np.divide(value, total, out=np.full_like(value, 1 / value.shape[1]), where=total > 0)


def _arrays(features: Tensor, label: Tensor, weight: Tensor | None) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    x, y = features.detach().cpu().float().numpy(), label.cpu().numpy()
    return x, y, None if weight is None else weight.detach().cpu().double().numpy()
