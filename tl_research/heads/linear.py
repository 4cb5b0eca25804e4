"""Linear classifiers: logistic regression, ridge, support vector machine."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.svm import LinearSVC
from torch import Tensor

from tl_research.heads.base import Head, PenaltyConfig, register_head
from tl_research.heads.support import support
from tl_research.heads.threads import blas_threads_for


class LinearHead(Head):
    """logits = x W' + b, fitted by scikit-learn in float64."""

    #: Whether the fit takes the columns' (weighted) means out, which b then takes up: the same optimum where b is not
    #: penalised, in fewer steps.
    centres = False

    def estimator(self, seed: int):
        """Return the unfitted classifier."""
        raise NotImplementedError

    def fitted(self, rows, label, weight, seed: int):
        """Return the classifier fitted to float64 arrays."""
        return self.estimator(seed).fit(rows, label, sample_weight=weight)

    def fit(self, features: Tensor, label: Tensor, weight: Tensor | None, *, classes: int, seed: int) -> None:
        x = features.detach().double()
        present, _, label, weight = found = support(label, weight, classes)
        x = found.of(x)
        coefficient = x.new_zeros(classes, x.shape[1])
        # a class without a training row that weighs is never predicted, by a margin that stays finite
        intercept = x.new_full((classes,), -1e4)
        if len(present) == 1:
            intercept[present] = 0.0
        else:
            mean = _mean(x, weight) if self.centres else torch.zeros_like(x[0])
            weight = None if weight is None else weight.cpu().numpy()
            rows = (x - mean).cpu().numpy()
            with blas_threads_for(rows):
                fitted = self.fitted(rows, label.cpu().numpy(), weight, seed)
            # scikit-learn 1.9's RidgeClassifier has the one margin of two classes as (d,) rather than (1, d).
            coef, offset = np.atleast_2d(fitted.coef_), np.atleast_1d(fitted.intercept_)
            coef, offset = torch.from_numpy(coef).to(x), torch.from_numpy(offset).to(x)
            offset = offset - coef @ mean
            if len(present) == 2:  # scikit-learn gives one margin: that of the second class
                coef, offset = torch.cat([-coef, coef]) / 2, torch.cat([-offset, offset]) / 2
            coefficient[present], intercept[present] = coef, offset
        dtype = features.dtype
        self.keep(coefficient=coefficient.to(dtype), intercept=intercept.to(dtype))

    def forward(self, features: Tensor) -> Tensor:
        return torch.addmm(self.intercept, features, self.coefficient.T)


def _mean(x: Tensor, weight: Tensor | None) -> Tensor:
    return x.mean(dim=0) if weight is None else (weight.to(x) / weight.to(x).sum()) @ x


@register_head("logistic", config=PenaltyConfig)
class Logistic(LinearHead):
    """Multinomial logistic regression: Σ_i w_i CE_i + penalty / 2 · ||W||², by L-BFGS to its optimum."""

    centres = True
    #: Largest entry of the gradient of the mean loss at the end.
    tolerance = 1e-6

    def estimator(self, seed: int):
        return LogisticRegression(C=1 / self.config.penalty, tol=self.tolerance, max_iter=10_000)


@register_head("ridge", config=PenaltyConfig)
class Ridge(LinearHead):
    """Least squares to targets -1 and 1, one against the rest, + penalty · ||W||²; the margins are the logits."""

    def estimator(self, seed: int):
        return RidgeClassifier(alpha=self.config.penalty)


@register_head("linear_svm", config=PenaltyConfig)
class LinearSVM(LinearHead):
    """Linear support vector machine (squared hinge), one against the rest; the margins are the logits.

    By the dual where that settles soon, else by the primal: on long rows that can be separated the primal takes a
    thousand times as many steps, on many rows that cannot the dual does. The optimum is one.
    """

    #: Passes over the rows that the dual has; beyond so many rows per column it is not tried.
    dual_passes, dual_rows_per_column = 5000, 10

    def estimator(self, seed: int):
        return LinearSVC(C=1 / self.config.penalty, dual=False, random_state=seed, max_iter=10_000)

    def fitted(self, rows, label, weight, seed: int):
        if len(rows) <= self.dual_rows_per_column * rows.shape[1]:
            dual = LinearSVC(C=1 / self.config.penalty, dual=True, random_state=seed, max_iter=self.dual_passes)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                dual.fit(rows, label, sample_weight=weight)
            if dual.n_iter_ < self.dual_passes:
                return dual
        return super().fitted(rows, label, weight, seed)
