"""Gradient-boosted trees as a head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.base import is_classifier
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor

from tl_research.config import added_later, check, check_choice
from tl_research.heads.base import Head, register_head
from tl_research.heads.support import check_weight, refuse_unknown, support
from tl_research.heads.tree_libraries import LIBRARIES, Stages
from tl_research.heads.tree_tensors import TreeTensors, from_scikit_learn, leaf_values

#: Logit of a class that no training row has, so that it is never predicted and its log stays finite.
ABSENT = -1e4


@dataclass
class BoostingConfig:
    """Options of boosted trees, whichever library grows them."""

    iterations: int = 100  # rounds of boosting
    lr: float = 0.1  # shrinkage of each tree
    leaves: int = 31  # most leaves per tree
    min_rows: int = 20  # fewest rows per leaf
    penalty: float = 0.0  # l2 on leaf values

    def __post_init__(self):
        check(self.iterations >= 1, "iterations", self.iterations, "1 or more")
        check(self.lr > 0, "lr", self.lr, "a number above 0")
        check(self.leaves >= 2, "leaves", self.leaves, "2 or more")
        check(self.min_rows >= 1, "min_rows", self.min_rows, "1 or more")
        check(self.penalty >= 0, "penalty", self.penalty, "0 or more")


@register_head("boosting", config=BoostingConfig)
class Boosting(Head):
    """Histogram gradient boosting by scikit-learn; the trees are kept as tensors and evaluated by torch.

    logits = baseline + sum of the leaf values of each class's trees; with two classes, -r/2 and r/2 of the one raw
    score r. nan in a feature is a value of its own.

    Reference:
        Ke et al. 2017, NeurIPS (LightGBM), which scikit-learn's histogram booster follows.
    """

    #: scikit-learn's model; for regression the regressor.
    estimator_class: type = HistGradientBoostingClassifier

    def estimator(self, seed: int):
        """Return the unfitted scikit-learn model; it never splits rows off to stop early."""
        return self.estimator_class(
            max_iter=self.config.iterations,
            learning_rate=self.config.lr,
            max_leaf_nodes=self.config.leaves,
            min_samples_leaf=self.config.min_rows,
            l2_regularization=self.config.penalty,
            early_stopping=False,
            random_state=seed,
        )

    def fit(self, features: Tensor, label: Tensor, weight: Tensor | None, *, classes: int, seed: int) -> None:
        found = support(label, weight, classes)
        present = found.present.cpu().numpy()
        if len(present) == 1:
            self.take(None, np.zeros(1), present, classes, features.device)
        else:
            x, y, weight = _arrays(found.of(features), found.label, found.weight)
            fitted = self.estimator(seed).fit(x, y, sample_weight=weight)
            self.take(*trees_of(fitted), present, classes, features.device)

    def take(
        self, trees: TreeTensors | None, baseline: np.ndarray, present: np.ndarray, classes: int, device: torch.device
    ) -> None:
        """Keep trees and the baseline (scores,) of the classes `present`; no trees (None) where there is one class."""
        self._buffers.clear()  # a second fit may have other trees and classes
        self._kept.clear()
        present = torch.from_numpy(np.asarray(present, dtype=np.int64)).to(device)
        if trees is not None:
            self.keep(**{name: tensor.to(device) for name, tensor in trees._asdict().items()})
        baseline = torch.from_numpy(np.array(baseline, dtype=np.float64)).to(device)
        self.keep(baseline=baseline, present=present, classes=torch.tensor(classes, device=device))

    def raw(self, features: Tensor) -> Tensor:
        """Return the library's raw scores: (n, 1) for two classes present, else (n, classes present); float64."""
        if "value" not in self._buffers:
            return self.baseline.expand(len(features), 1)
        trees = TreeTensors(*(self._buffers[name] for name in TreeTensors._fields))
        values = leaf_values(trees, features)
        # Rounds of boosting run outside, classes inside.
        scores = len(self.baseline)
        return self.baseline + values.view(len(features), values.shape[1] // scores, scores).sum(dim=1)

    def forward(self, features: Tensor) -> Tensor:
        scores = self.raw(features)
        if len(self.present) == 2:
            scores = torch.cat([-scores, scores], dim=1) / 2
        logits = scores.new_full((len(features), int(self.classes)), ABSENT)
        logits[:, self.present] = scores
        return logits.to(features.dtype)


def trees_of(fitted) -> tuple[TreeTensors, np.ndarray]:
    """Return the trees of a fitted scikit-learn model and its baseline (scores,)."""
    trees = from_scikit_learn([tree.nodes for round_ in fitted._predictors for tree in round_])
    return trees, np.asarray(fitted._baseline_prediction, np.float64).ravel()


class PooledBins:
    """Mixin of scikit-learn's boosters: bins by all rows alike.

    From scikit-learn 1.8 on weights move the bins' edges. A second stage with other weights would then read the first
    stage's trees with the wrong edges.
    """

    def _bin_data(self, rows, *weight, is_training_data):
        return super()._bin_data(rows, *(None for _ in weight), is_training_data=is_training_data)


class PooledBinsClassifier(PooledBins, HistGradientBoostingClassifier):
    """`HistGradientBoostingClassifier` with `PooledBins`."""


@dataclass
class TransferBoostingConfig(BoostingConfig):
    """The options of both stages.

    `min_rows` counts the pooled rows, whatever their weight; so in the second stage it is `penalty` that holds small
    leaves back.
    """

    library: str = added_later("scikit-learn")  # or, of the extra [trees], lightgbm or xgboost; for the fit alone
    min_rows: int = 20  # fewest pooled rows per leaf; not of library=xgboost, which counts no rows
    min_hessian: float = added_later(1.0)  # library=xgboost: least sum of second derivatives of the loss per leaf
    penalty: float = 1.0
    target_iterations: int = 50  # rounds on the target; 0 leaves the source's booster
    target_lr: float = 0.05  # shrinkage of the target's trees
    target_share: float = 0.3  # of the first stage's weight that lies on the labelled target rows, 0 to below 1

    def __post_init__(self):
        super().__post_init__()
        check_choice("library", self.library, ("scikit-learn", *LIBRARIES))
        check(self.min_hessian >= 0, "min_hessian", self.min_hessian, "0 or more")
        check(0 <= self.target_share < 1, "target_share", self.target_share, "0 <= target_share < 1")
        check(self.target_iterations >= 0, "target_iterations", self.target_iterations, "0 or more")
        check(self.target_lr > 0, "target_lr", self.target_lr, "a number above 0")


class TransferBoosting(Boosting):
    """A booster of the source, continued on target rows with labels.

    F_T = F_S + sum of trees fitted to the loss of the labelled target rows, F_S the raw scores of the source's
    trees. With `target_share` > 0 the first stage sees the labelled target rows too, re-weighted to that share of its
    mass. Both stages bin the pooled rows, so that their thresholds agree; a stage sees the other's rows with
    weight 0 only. (XGBoost sees only the rows of the stage; its trees hold values, not bins.)

    Reference:
        Friedman 2001, Ann. Stat. 29(5), algorithm 1, begun at F_S instead of a constant.
    """

    Config = TransferBoostingConfig
    estimator_class = PooledBinsClassifier

    def fit_transfer(
        self,
        features: Tensor,
        label: Tensor,
        weight: Tensor | None,
        target_features: Tensor,
        target_label: Tensor,
        *,
        classes: int,
        seed: int,
    ) -> None:
        """Fit to source rows (n, d), then to labelled target rows (k, d).

        Raises:
            DataError: with `target_share=0`, a class with target labels that no source row has, or none that weighs.
        """
        check_weight(weight, len(label))
        weight = torch.ones_like(features[:, 0], dtype=torch.float64) if weight is None else weight.double()
        shared = self.config.target_share / (1 - self.config.target_share) * weight.sum() / max(1, len(target_label))
        of_target = torch.ones_like(target_features[:, 0], dtype=torch.float64)
        pooled, labels = torch.cat([features, target_features]), torch.cat([label, target_label])
        first = torch.cat([weight, shared * of_target])
        second = torch.cat([torch.zeros_like(weight), of_target])
        present = np.zeros(1)
        if is_classifier(self.estimator(seed)):
            if not self.config.target_share:  # else the target's rows weigh in the first stage
                known = support(label, weight, classes).present
                refuse_unknown("boosting_transfer", target_label, label, known)
            found = support(labels, first, classes)
            pooled, second, (_, _, labels, first) = found.of(pooled), found.of(second), found
            present = found.present.cpu().numpy()
            if len(present) == 1:
                self.take(None, np.zeros(1), present, classes, features.device)
                return
        pooled, labels, first, second = (part.detach().cpu().numpy() for part in (pooled, labels, first, second))
        rows = Stages(pooled.astype(np.float64), labels, first, second, len(present))
        boost = LIBRARIES.get(self.config.library, boost_scikit_learn)
        self.take(*boost(rows, self, seed), present, classes, features.device)


def boost_scikit_learn(rows: Stages, head: TransferBoosting, seed: int) -> tuple[TreeTensors, np.ndarray]:
    """Return the trees of both stages (`warm_start`) and the baseline of the raw scores."""
    config, model = head.config, head.estimator(seed)
    model.set_params(warm_start=True).fit(rows.x, rows.y, sample_weight=rows.first)
    if config.target_iterations and rows.second.any():
        model.set_params(max_iter=config.iterations + config.target_iterations, learning_rate=config.target_lr)
        model.fit(rows.x, rows.y, sample_weight=rows.second)
    return trees_of(model)


def _arrays(features: Tensor, label: Tensor, weight: Tensor | None) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    x, y = features.detach().cpu().double().numpy(), label.cpu().numpy()
    return x, y, None if weight is None else weight.detach().cpu().double().numpy()
