"""Linear classifiers: logistic regression, ridge, support vector machine."""

from __future__ import annotations

import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.svm import LinearSVC
from torch import Tensor

from tl_research.heads.base import Head
from tl_research.heads.logistic import fit_logistic


class LinearHead(Head):
    """logits = x W' + b, fitted in float64, by scikit-learn unless `solve` says otherwise."""

    def __init__(self, penalty: float = 1.0):
        super().__init__()
        self.penalty = penalty

    def estimator(self, seed: int):
        raise NotImplementedError

    def fit(self, features: Tensor, label: Tensor, weight: Tensor | None, *, classes: int, seed: int) -> None:
        x = features.detach().double()
        present, label = label.unique(return_inverse=True)
        coefficient = x.new_zeros(classes, x.shape[1])
        # a class without a training row is never predicted, by a margin that stays finite
        intercept = x.new_full((classes,), -1e4)
        if len(present) == 1:
            intercept[present] = 0.0
        else:
            coefficient[present], intercept[present] = self.solve(x, label, weight, len(present), seed)
        dtype = features.dtype
        self.keep(coefficient=coefficient.to(dtype), intercept=intercept.to(dtype))

    def solve(self, x: Tensor, label: Tensor, weight: Tensor | None, classes: int, seed: int) -> tuple[Tensor, Tensor]:
        """Coefficients (classes, d) and intercepts (classes,) where every class has rows, float64."""
        weight = None if weight is None else weight.cpu().numpy()
        fitted = self.estimator(seed).fit(x.cpu().numpy(), label.cpu().numpy(), sample_weight=weight)
        coef, offset = (torch.from_numpy(part).to(x) for part in (fitted.coef_, fitted.intercept_))
        if classes == 2:  # scikit-learn gives one margin: that of the second class
            coef, offset = torch.cat([-coef, coef]) / 2, torch.cat([-offset, offset]) / 2
        return coef, offset

    def forward(self, features: Tensor) -> Tensor:
        return torch.addmm(self.intercept, features, self.coefficient.T)


class Logistic(LinearHead):
    """Multinomial logistic regression: Σ_i w_i CE_i + penalty / 2 · ||W||²."""

    def solve(self, x: Tensor, label: Tensor, weight: Tensor | None, classes: int, seed: int) -> tuple[Tensor, Tensor]:
        return fit_logistic(x, label, weight, classes=classes, penalty=self.penalty)


class Ridge(LinearHead):
    """Least squares to targets -1 and 1, one against the rest, + penalty · ||W||²; the margins are the logits."""

    def estimator(self, seed: int):
        return RidgeClassifier(alpha=self.penalty)


class LinearSVM(LinearHead):
    """Linear support vector machine (squared hinge), one against the rest; the margins are the logits."""

    def estimator(self, seed: int):
        return LinearSVC(C=1 / self.penalty, dual="auto", random_state=seed, max_iter=10_000)
