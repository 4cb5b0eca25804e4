"""Linear classifiers: logistic regression, ridge, support vector machine."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.svm import LinearSVC
from torch import Tensor

from tl_research.heads.base import Head


class LinearHead(Head):
    """logits = x W + b, fitted by scikit-learn in float64."""

    def __init__(self, penalty: float = 1.0):
        super().__init__()
        self.penalty = penalty

    def estimator(self, seed: int):
        raise NotImplementedError

    def fit(self, features: Tensor, label: Tensor, weight: Tensor | None, *, classes: int, seed: int) -> None:
        x, y = features.detach().cpu().double().numpy(), label.cpu().numpy()
        present = np.unique(y)
        coefficient = np.zeros((classes, x.shape[1]))
        intercept = np.full(classes, -np.inf)
        if len(present) == 1:
            intercept[present] = 0.0
        else:
            fitted = self.estimator(seed).fit(x, y, sample_weight=None if weight is None else weight.cpu().numpy())
            coef, offset = fitted.coef_, fitted.intercept_
            if len(present) == 2:  # scikit-learn gives one margin: that of the second class
                coef, offset = np.concatenate([-coef, coef]) / 2, np.concatenate([-offset, offset]) / 2
            coefficient[present], intercept[present] = coef, offset
        # a class without a training row is never predicted, by a margin that stays finite
        intercept[~np.isfinite(intercept)] = -1e4
        dtype, device = features.dtype, features.device
        self.keep(
            coefficient=torch.from_numpy(coefficient).to(device, dtype),
            intercept=torch.from_numpy(intercept).to(device, dtype),
        )

    def forward(self, features: Tensor) -> Tensor:
        return torch.addmm(self.intercept, features, self.coefficient.T)


class Logistic(LinearHead):
    """Multinomial logistic regression: Σ_i w_i CE_i + penalty / 2 · ||W||², by L-BFGS."""

    def estimator(self, seed: int):
        return LogisticRegression(C=1 / self.penalty, max_iter=1000)


class Ridge(LinearHead):
    """Least squares to targets -1 and 1, one against the rest, + penalty · ||W||²; the margins are the logits."""

    def estimator(self, seed: int):
        return RidgeClassifier(alpha=self.penalty)


class LinearSVM(LinearHead):
    """Linear support vector machine (squared hinge), one against the rest; the margins are the logits."""

    def estimator(self, seed: int):
        return LinearSVC(C=1 / self.penalty, dual="auto", random_state=seed, max_iter=10_000)
