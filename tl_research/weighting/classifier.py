"""The logistic regression that tells target rows from source rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from tl_research.config import WeightingConfig, all_above, at_least
from tl_research.heads.threads import blas_threads_for
from tl_research.weighting.prepared import Prepared

#: Up to this many columns Newton steps are faster than a quasi-Newton method.
NEWTON_COLUMNS = 200
MAX_STEPS = 1000
#: Of the mean log loss's gradient. Newton's last step brings it far below; the other's path is long, and what it would
#: still change is far below the estimate's own error.
TOLERANCE = {"newton-cholesky": 1e-6, "lbfgs": 1e-4}


@dataclass
class ClassifierConfig(WeightingConfig):
    """Options of the domain classifier."""

    ridge: list[float] = all_above(0, default=[1e-4, 1e-3, 1e-2, 1e-1])
    # ^ candidates for lambda in mean log loss + ½ lambda ||w||², standardised columns; one leaves out the choice
    folds: int = at_least(2, default=3)  # of both domains, for the choice of lambda and for out-of-fold scores
    cv_rows: int = at_least(10, default=5_000)  # rows of each domain that the choice looks at; the fit sees all
    squares: bool = False  # add each column's square: exact for Gaussians of different variances
    out_of_fold: bool = False  # score a source row by a classifier that did not see it


def log_odds(rows: Prepared, config: ClassifierConfig, facts: dict[str, Any]) -> Tensor:
    """log p(target | x) / p(source | x) of the source rows (n,), by a logistic regression fitted to both domains.

    What it chose goes into `facts`.
    """
    inputs = [_inputs(part, config.squares) for part in (rows.source, rows.target)]
    ridge = config.ridge[0]
    if len(config.ridge) > 1:
        seen = [part[: config.cv_rows] for part in inputs]
        losses = [_held_out_loss(seen, candidate, config.folds) for candidate in config.ridge]
        ridge = config.ridge[int(np.argmin(losses))]
        facts.update(cv_log_loss=min(losses), cv_rows=max(len(part) for part in seen))
    facts.update(ridge=ridge)
    if config.out_of_fold:
        score = np.empty(len(inputs[0]))
        for held, fitted in _splits(inputs, ridge, config.folds):
            score[held[0]] = fitted.decision_function(inputs[0][held[0]])
    else:
        score = _fit(inputs, ridge).decision_function(inputs[0])
    return torch.as_tensor(score, dtype=torch.float64, device=rows.source.device)


def _inputs(rows: Tensor, squares: bool) -> np.ndarray:
    rows = rows.cpu().numpy()
    return np.concatenate([rows, rows**2], axis=1) if squares else rows


def _fit(inputs: list[np.ndarray], ridge: float) -> LogisticRegression:
    x = np.concatenate(inputs)
    y = np.repeat([0, 1], [len(part) for part in inputs])
    solver = "newton-cholesky" if x.shape[1] <= NEWTON_COLUMNS else "lbfgs"
    model = LogisticRegression(C=1 / (ridge * len(x)), solver=solver, tol=TOLERANCE[solver], max_iter=MAX_STEPS)
    with blas_threads_for(x):
        return model.fit(x, y)


def _splits(inputs: list[np.ndarray], ridge: float, folds: int):
    """For each fold, the rows of both domains held out, and the classifier of the others."""
    for fold in range(folds):
        held = [slice(len(part) * fold // folds, len(part) * (fold + 1) // folds) for part in inputs]
        others = [np.delete(part, rows, axis=0) for part, rows in zip(inputs, held)]
        yield held, _fit(others, ridge)


def _held_out_loss(inputs: list[np.ndarray], ridge: float, folds: int) -> float:
    total = 0.0
    for held, fitted in _splits(inputs, ridge, folds):
        for part, rows, sign in zip(inputs, held, (1, -1)):
            total += np.logaddexp(0, sign * fitted.decision_function(part[rows])).sum()
    return float(total / sum(len(part) for part in inputs))
