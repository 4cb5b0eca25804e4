"""Boosting that unlearns source rows: TrAdaBoost for classes and for numbers, over any scikit-learn estimator."""

from __future__ import annotations

import math

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils.validation import check_is_fitted

from tl_research.config import check
from tl_research.errors import DataError


class _TrAdaBoost(BaseEstimator):
    """The rounds that both have: source rows that err lose weight, target rows that err gain it.

    Fitted attributes:
        estimators_: one a round.
        errors_: (rounds,) weighted target error of each, before its limits.
        beta_: of the source rows; betas_: (rounds,) of the target rows.
        source_weights_, target_weights_: (rounds + 1, n or m), before each round and after the last; both add to 1.
    """

    def __init__(self, estimator=None, rounds: int = 10):
        self.estimator, self.rounds = estimator, rounds

    def fit(self, source, source_label, target, target_label, *, source_weight=None):
        """Fit to rows with labels of both domains.

        Args:
            source: (n, d). source_label: (n,). target: (m, d). target_label: (m,).
            source_weight: (n,) >= 0 that the source rows begin with, where a target row has 1; None: 1.

        Raises:
            ConfigError: no round asked for. DataError: rows and labels that do not fit.
        """
        check(self.rounds >= 1, "rounds", self.rounds, "at least 1")
        source, target = np.asarray(source), np.asarray(target)
        source_label, target_label = np.asarray(source_label), np.asarray(target_label)
        _check(source, source_label, target, target_label)
        n, m = len(source), len(target)
        rows, label = np.concatenate([source, target]), self._encoded(source_label, target_label)
        begins = np.ones(n) if source_weight is None else np.asarray(source_weight, dtype=float)
        weight = np.concatenate([begins, np.ones(m)])
        weight = weight / weight.sum()
        self.beta_ = 1 / (1 + math.sqrt(2 * math.log(n) / self.rounds))
        self.estimators_, errors, betas, history = [], [], [], [weight]
        for _ in range(self.rounds):
            # Of mean 1, because penalties and least leaf weights of the estimators count in rows.
            fitted = clone(self._base()).fit(rows, label, sample_weight=weight * len(weight))
            loss = self._loss(fitted.predict(rows), label)
            error = float(weight[n:] @ loss[n:] / weight[n:].sum())
            # Half a row at least, and half of all at most: see the classes.
            kept = min(max(error, 0.5 / m), 0.5)
            beta = kept / (1 - kept)
            self.estimators_.append(fitted)
            errors.append(error)
            betas.append(beta)
            weight = weight * np.concatenate([self.beta_ ** loss[:n], beta ** -loss[n:]])
            weight = weight / weight.sum()
            history.append(weight)
        self.errors_, self.betas_ = np.array(errors), np.array(betas)
        self.source_weights_ = np.array([w[:n] for w in history])
        self.target_weights_ = np.array([w[n:] for w in history])
        self.n_features_in_ = rows.shape[1]
        return self

    def _voters(self) -> tuple[list, np.ndarray]:
        """The rounds ceil(N/2) .. N and their ln(1 / beta_t), equal ones where all are 0."""
        check_is_fitted(self)
        first = math.ceil(len(self.estimators_) / 2) - 1
        voice = -np.log(self.betas_[first:])
        return self.estimators_[first:], voice if voice.sum() > 0 else np.ones_like(voice)


class TrAdaBoost(ClassifierMixin, _TrAdaBoost):
    """TrAdaBoost: boosting on few labelled target rows and many source rows.

    Each round fits h_t to all rows by weight and takes, with e_i = 1 where h_t errs on row i and 0 elsewhere,

        eps_t = Σ_target w_i e_i / Σ_target w_i,   beta_t = eps_t / (1 - eps_t),   beta = 1 / (1 + sqrt(2 ln n / N)),
        w_i <- w_i beta^e_i (source),   w_i <- w_i beta_t^-e_i (target).

    The prediction is the vote of rounds ceil(N/2) .. N, each with ln(1 / beta_t); for two classes that is the paper's
    Π beta_t^-h_t >= Π beta_t^-1/2.

    The paper needs 0 < eps_t < 1/2 and leaves the rest open. Here eps_t >= 1/2 counts as 1/2: the round has no vote and
    leaves the target's weights alone, while the source rows that err go on losing theirs (a large source outvotes the
    target at first, which is what the method is for). eps_t = 0 counts as an error on half a target row.

    Args:
        estimator: scikit-learn classifier whose fit takes sample_weight; None: a decision stump.
        rounds: N.

    Reference:
        Dai, Yang, Xue & Yu 2007, Boosting for transfer learning, ICML, algorithm 1.
    """

    def _base(self):
        return DecisionTreeClassifier(max_depth=1, random_state=0) if self.estimator is None else self.estimator

    def _encoded(self, source_label: np.ndarray, target_label: np.ndarray) -> np.ndarray:
        self.classes_, encoded = np.unique(np.concatenate([source_label, target_label]), return_inverse=True)
        if len(self.classes_) < 2:
            raise DataError(f"TrAdaBoost: every row has the label {self.classes_[0]}, wants two classes or more")
        return encoded

    @staticmethod
    def _loss(predicted: np.ndarray, label: np.ndarray) -> np.ndarray:
        return (predicted != label).astype(float)

    def predict_proba(self, rows) -> np.ndarray:
        """Each class's share of the vote (rows, classes); columns as in `classes_`."""
        estimators, voice = self._voters()
        votes = np.zeros((len(rows), len(self.classes_)))
        for fitted, said in zip(estimators, voice):
            votes[np.arange(len(rows)), fitted.predict(rows).astype(int)] += said
        return votes / voice.sum()

    def predict(self, rows) -> np.ndarray:
        """The class of most votes; of equal ones the last in `classes_` (the paper's >=)."""
        votes = self.predict_proba(rows).round(12)
        return self.classes_[len(self.classes_) - 1 - votes[:, ::-1].argmax(axis=1)]


class TrAdaBoostR2(RegressorMixin, _TrAdaBoost):
    """TrAdaBoost.R2: TrAdaBoost for numbers, with AdaBoost.R2's graded errors.

    As `TrAdaBoost`, limits of eps_t included, with e_i = |y_i - h_t(x_i)| / D, D the largest such difference of the
    round; the prediction is the median of rounds ceil(N/2) .. N weighted by ln(1 / beta_t).

    Args:
        estimator: scikit-learn regressor whose fit takes sample_weight; None: a tree of depth 3.
        rounds: N.

    Reference:
        Pardoe & Stone 2010, Boosting for regression transfer, ICML, section 4.1; Drucker 1997 (AdaBoost.R2).
    """

    def _base(self):
        return DecisionTreeRegressor(max_depth=3, random_state=0) if self.estimator is None else self.estimator

    def _encoded(self, source_label: np.ndarray, target_label: np.ndarray) -> np.ndarray:
        return np.concatenate([source_label, target_label]).astype(float)

    @staticmethod
    def _loss(predicted: np.ndarray, label: np.ndarray) -> np.ndarray:
        difference = np.abs(predicted - label)
        largest = difference.max()
        return difference / largest if largest > 0 else difference

    def predict(self, rows) -> np.ndarray:
        """Weighted median of the rounds' predictions (rows,)."""
        estimators, voice = self._voters()
        said = np.stack([fitted.predict(rows) for fitted in estimators], axis=1)
        order = said.argsort(axis=1)
        below = voice[order].cumsum(axis=1)
        middle = (below >= 0.5 * below[:, -1:]).argmax(axis=1)
        return np.take_along_axis(said, np.take_along_axis(order, middle[:, None], axis=1), axis=1)[:, 0]


def _check(source: np.ndarray, source_label: np.ndarray, target: np.ndarray, target_label: np.ndarray) -> None:
    if source.ndim != 2 or target.ndim != 2 or source.shape[1] != target.shape[1]:
        raise DataError(f"TrAdaBoost: got source {source.shape} and target {target.shape}, wants (n, d) and (m, d)")
    for side, rows, label in (("source", source, source_label), ("target", target, target_label)):
        if len(rows) == 0 or label.shape != (len(rows),):
            raise DataError(f"TrAdaBoost: {side} has {len(rows)} row(s) and labels of shape {label.shape}")
