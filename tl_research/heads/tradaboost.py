"""Boosting that unlearns source rows: TrAdaBoost for classes and for numbers, over any scikit-learn estimator."""

from __future__ import annotations

import math

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils.validation import check_is_fitted

from tl_research.config import check, check_choice
from tl_research.errors import DataError

FIRST_WEIGHTS = ("rows", "domains")
AT_CHANCE = ("raise_target", "stop")
#: An error that lies below chance by this share of it or less is chance: such a voice would be rounding.
ROUNDING = 1e-9


class _TrAdaBoost(BaseEstimator):
    """The rounds that both have: source rows that err lose weight, target rows that err gain it.

    Fitted attributes:
        estimators_: one per round.
        errors_: (rounds,) weighted target error of each, before its limits.
        beta_: of the source rows; betas_: (rounds,) of the target rows, 1 of a round without a voice.
        alone_: where no round has a voice, the estimator that was fitted to the target rows alone; else None.
        source_weights_, target_weights_: (rounds + 1, n or m), before each round and after the last; both add to 1.
    """

    def __init__(self, estimator=None, rounds: int = 10, first_weights: str = "rows", at_chance: str = "raise_target"):
        self.estimator, self.rounds = estimator, rounds
        self.first_weights, self.at_chance = first_weights, at_chance

    def fit(self, source, source_label, target, target_label, *, source_weight=None):
        """Fit to rows with labels of both domains.

        Args:
            source: (n, d). source_label: (n,). target: (m, d). target_label: (m,).
            source_weight: (n,) >= 0 that the source rows begin with where a target row has 1; None: 1. With
                first_weights=domains they matter relative to one another only.

        Raises:
            ConfigError: no round asked for, or an option that there is not. DataError: rows and labels that do not fit.
        """
        check(self.rounds >= 1, "rounds", self.rounds, "at least 1")
        check_choice("first_weights", self.first_weights, FIRST_WEIGHTS)
        check_choice("at_chance", self.at_chance, AT_CHANCE)
        source, target = np.asarray(source), np.asarray(target)
        source_label, target_label = np.asarray(source_label), np.asarray(target_label)
        _check(source, source_label, target, target_label)
        n, m = len(source), len(target)
        rows, label = np.concatenate([source, target]), self._encoded(source_label, target_label)
        weight = self._begins(n, m, source_weight)
        self.beta_ = 1 / (1 + math.sqrt(2 * math.log(n) / self.rounds))
        self.estimators_, errors, betas, history = [], [], [], [weight]
        for _ in range(self.rounds):
            # Of mean 1, because penalties and least leaf weights of the estimators count in rows.
            fitted = clone(self._base()).fit(rows, label, sample_weight=weight * len(weight))
            loss = self._loss(fitted, rows, label)
            error = float(weight[n:] @ loss[n:] / weight[n:].sum())
            self.estimators_.append(fitted)
            errors.append(error)
            odds = 1 / self._chance - 1  # what makes beta_t 1 at chance
            has_voice = error < self._chance * (1 - ROUNDING)
            if has_voice:
                kept = max(error, min(0.5 / m, 0.25))  # half a row at least: see the classes
                betas.append(odds * kept / (1 - kept))
                weight = weight * np.concatenate([self.beta_ ** loss[:n], betas[-1] ** -loss[n:]])
            else:
                betas.append(1.0)
                if self.at_chance == "raise_target":
                    weight = weight * np.repeat([1, 1 / self.beta_], [n, m])
            weight = weight / weight.sum()
            history.append(weight)
            if not has_voice and self.at_chance == "stop":
                break
        self.errors_, self.betas_ = np.array(errors), np.array(betas)
        self.source_weights_ = np.array([w[:n] for w in history])
        self.target_weights_ = np.array([w[n:] for w in history])
        self.n_features_in_ = rows.shape[1]
        self.alone_ = None if (self.betas_ < 1).any() else self._alone(target, label[n:])
        return self

    def _begins(self, n: int, m: int, source_weight) -> np.ndarray:
        """Weights (n + m,) of the first round; they add to 1."""
        source = np.ones(n) if source_weight is None else np.asarray(source_weight, dtype=float)
        if self.first_weights == "domains":
            return np.concatenate([source / source.sum(), np.full(m, 1 / m)]) / 2
        weight = np.concatenate([source, np.ones(m)])
        return weight / weight.sum()

    def _alone(self, target: np.ndarray, label: np.ndarray):
        """The estimator of the target rows alone; that of round 1 where these are of one class."""
        if self._tells_classes and len(np.unique(label)) < 2:
            return self.estimators_[0]
        return clone(self._base()).fit(target, label, sample_weight=np.ones(len(target)))

    def _voters(self) -> tuple[list, np.ndarray]:
        """Of the rounds with a voice the later half (A/2 rounded up .. A), and their ln(1 / beta_t).

        Where no round has a voice, the estimator of the target rows alone.
        """
        check_is_fitted(self)
        heard = np.flatnonzero(self.betas_ < 1)
        if len(heard) == 0:
            return [self.alone_], np.ones(1)
        heard = heard[math.ceil(len(heard) / 2) - 1 :]
        return [self.estimators_[t] for t in heard], -np.log(self.betas_[heard])


class TrAdaBoost(ClassifierMixin, _TrAdaBoost):
    """TrAdaBoost: boosting on few labelled target rows and many source rows.

    Each round fits h_t to all rows by weight, with p_t(c | x) the probability that h_t gives class c, and takes

        e_i = 1 - p_t(y_i | x_i), for two classes |h_t(x_i) - y_i| with h_t = p_t(1 | x) in [0, 1],
        eps_t = Σ_target w_i e_i / Σ_target w_i,   beta_t = eps_t / (1 - eps_t),   beta = 1 / (1 + sqrt(2 ln n / N)),
        w_i <- w_i beta^e_i (source),   w_i <- w_i beta_t^-e_i (target).

    The prediction is the mean of p_t over rounds ceil(N/2) .. N, each with its voice ln(1 / beta_t): for two classes
    class 1 where that mean is 1/2 or more, which is the paper's Π beta_t^-h_t >= Π beta_t^-1/2. An estimator without
    `predict_proba` votes hard, with p_t of 0 and 1.

    The paper needs 0 < eps_t < 1/2 and leaves the rest open. These are extensions of it:

    - eps_t >= 1/2: the round has no voice and is not counted among the N of which the later half votes. The rows that
      h_t gets right may then be those that contradict the target, so that no source row is unlearned; instead the whole
      target side gains 1 / beta (`at_chance=raise_target`), until a round is better than chance, or there is no
      further round (`stop`). Where no round has a voice the model is the estimator of the target rows alone.
    - eps_t = 0 counts as an error on half a target row, or a quarter of all if that is less.
    - K > 2 classes: beta_t = eps_t / ((K - 1) (1 - eps_t)), and chance is eps_t = 1 - 1/K in place of 1/2 (SAMME).

    Args:
        estimator: scikit-learn classifier whose fit takes sample_weight; None: a tree of depth 3.
        rounds: N.
        first_weights: `rows`: every row begins with weight 1; `domains`: source rows with 1/n, target rows with 1/m.
        at_chance: `raise_target` or `stop`, see above.

    Reference:
        Dai, Yang, Xue & Yu 2007, Boosting for transfer learning, ICML, algorithm 1; Zhu, Zou, Rosset & Hastie 2009,
        Multi-class AdaBoost, Statistics and Its Interface 2(3), algorithm 2 (SAMME).
    """

    _tells_classes = True

    def _base(self):
        return DecisionTreeClassifier(max_depth=3, random_state=0) if self.estimator is None else self.estimator

    def _encoded(self, source_label: np.ndarray, target_label: np.ndarray) -> np.ndarray:
        self.classes_, encoded = np.unique(np.concatenate([source_label, target_label]), return_inverse=True)
        if len(self.classes_) < 2:
            raise DataError(f"TrAdaBoost: every row has the label {self.classes_[0]}, wants two classes or more")
        return encoded

    @property
    def _chance(self) -> float:
        return 1 - 1 / len(self.classes_)

    def _loss(self, fitted, rows: np.ndarray, label: np.ndarray) -> np.ndarray:
        # Rounding may leave a probability a hair outside [0, 1].
        return (1 - self._probability(fitted, rows)[np.arange(len(rows)), label]).clip(0, 1)

    def _probability(self, fitted, rows: np.ndarray) -> np.ndarray:
        """p_t (rows, classes)."""
        probability = np.zeros((len(rows), len(self.classes_)))
        if hasattr(fitted, "predict_proba"):
            known = getattr(fitted, "classes_", np.arange(len(self.classes_)))  # fewer where the target lacks a class
            probability[:, np.asarray(known).astype(int)] = fitted.predict_proba(rows)
        else:
            probability[np.arange(len(rows)), fitted.predict(rows).astype(int)] = 1
        return probability

    def predict_proba(self, rows) -> np.ndarray:
        """Mean of the rounds' probabilities by voice (rows, classes); columns as in `classes_`."""
        estimators, voice = self._voters()
        rows = np.asarray(rows)
        return sum(said * self._probability(fitted, rows) for fitted, said in zip(estimators, voice)) / voice.sum()

    def predict(self, rows) -> np.ndarray:
        """The most probable class; of equal ones the last in `classes_` (the paper's >=)."""
        probability = self.predict_proba(rows).round(12)
        return self.classes_[len(self.classes_) - 1 - probability[:, ::-1].argmax(axis=1)]


class TrAdaBoostR2(RegressorMixin, _TrAdaBoost):
    """TrAdaBoost.R2: TrAdaBoost for numbers, with AdaBoost.R2's graded errors.

    As `TrAdaBoost`, its extensions for eps_t >= 1/2 and eps_t = 0 included, with e_i = |y_i - h_t(x_i)| / D, D the
    largest such difference of the round; the prediction is the median, weighted by ln(1 / beta_t), of the later half of
    the rounds with a voice.

    Args:
        estimator: scikit-learn regressor whose fit takes sample_weight; None: a tree of depth 3.
        rounds: N.
        first_weights, at_chance: as of `TrAdaBoost`.

    Reference:
        Pardoe & Stone 2010, Boosting for regression transfer, ICML, section 4.1; Drucker 1997 (AdaBoost.R2).
    """

    _tells_classes, _chance = False, 0.5

    def _base(self):
        return DecisionTreeRegressor(max_depth=3, random_state=0) if self.estimator is None else self.estimator

    def _encoded(self, source_label: np.ndarray, target_label: np.ndarray) -> np.ndarray:
        return np.concatenate([source_label, target_label]).astype(float)

    def _loss(self, fitted, rows: np.ndarray, label: np.ndarray) -> np.ndarray:
        difference = np.abs(fitted.predict(rows) - label)
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
