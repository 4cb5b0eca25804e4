"""The plain script: eight scikit-learn models, none tuned; the mean rank by the three of best cross-validated AUROC.

Old rows (x, y), new rows with labels (u, v), and new rows to be ranked (w), as numbers; two classes, 0 and 1. Of
numbers to predict it is the mean of the three of best cross-validated R², of the same eight with ridge for logistic
regression. Above 1,000 columns the boosters are left out.
It imports nothing of this project.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

BEST = 3
#: Of wider rows boosting takes too long.
WIDE = 1000


def linear(seed: int, rows: int, numbers: bool = False):
    return make_pipeline(StandardScaler(), Ridge() if numbers else LogisticRegression(C=1.0, max_iter=2000))


def boosting(seed: int, rows: int, numbers: bool = False):
    model = HistGradientBoostingRegressor if numbers else HistGradientBoostingClassifier
    return model(max_iter=100, min_samples_leaf=5 if rows <= 400 else 20, random_state=seed)


def forest(seed: int, rows: int, numbers: bool = False):
    model = RandomForestRegressor if numbers else RandomForestClassifier
    return model(300, min_samples_leaf=2, random_state=seed)


SOURCE = {"source linear": linear, "source boosting": boosting, "source forest": forest}
TARGET = {"target linear": linear, "target forest": forest}
POOLED = {"pooled linear": linear, "pooled boosting": boosting}


def said_by(model, rows: np.ndarray) -> np.ndarray:
    """The chance of the second class, or the number."""
    return model.predict_proba(rows)[:, 1] if hasattr(model, "predict_proba") else model.predict(rows)


def pooled(make, x, y, u, v, w, seed: int, numbers: bool) -> np.ndarray:
    """Both domains with a column that tells them apart, each with half of the weight."""
    rows = np.vstack([np.column_stack([x, np.zeros(len(x))]), np.column_stack([u, np.ones(len(u))])])
    weight = np.concatenate([np.full(len(x), 0.5 / len(x)), np.full(len(u), 0.5 / len(u))]) * len(rows)
    model = make(seed, len(rows), numbers)
    last = {f"{model.steps[-1][0]}__sample_weight": weight} if hasattr(model, "steps") else {"sample_weight": weight}
    model.fit(rows, np.concatenate([y, v]), **last)
    return said_by(model, np.column_stack([w, np.ones(len(w))]))


def all_said(source: dict, x, y, u, v, w, seed: int, numbers: bool) -> dict[str, np.ndarray]:
    """What each of the eight says of the rows w; `source` are the models of the old rows, fitted."""
    said = {name: said_by(model, w) for name, model in source.items()}
    for name, make in TARGET.items():
        said[name] = said_by(make(seed, len(u), numbers).fit(u, v), w)
    for name, make in _affordable(POOLED, x).items():
        said[name] = pooled(make, x, y, u, v, w, seed, numbers)
    known, asked = (np.column_stack([rows, *(said_by(model, rows) for model in source.values())]) for rows in (u, w))
    said["scores forest"] = said_by(forest(seed, len(u), numbers).fit(known, v), asked)
    return said


def _affordable(models: dict, x) -> dict:
    return {name: make for name, make in models.items() if make is not boosting or x.shape[1] <= WIDE}


def best_three(x, y, u, v, w, *, seed: int) -> tuple[np.ndarray, list[str]]:
    """Return the mean rank (n,) of the rows w by the three of best cross-validated AUROC on u, and their names."""
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    said, best = _best(folds, roc_auc_score, x, y, u, v, w, seed, numbers=False)
    return np.mean([rankdata(said[name]) for name in best], axis=0), best


def best_three_numbers(x, y, u, v, w, *, seed: int) -> tuple[np.ndarray, list[str]]:
    """Return the mean prediction (n,) of the rows w by the three of best cross-validated R² on u, and their names."""
    said, best = _best(KFold(5, shuffle=True, random_state=seed), r2_score, x, y, u, v, w, seed, numbers=True)
    return np.mean([said[name] for name in best], axis=0), best


def _best(folds, score, x, y, u, v, w, seed: int, *, numbers: bool) -> tuple[dict[str, np.ndarray], list[str]]:
    source = {name: make(seed, len(x), numbers).fit(x, y) for name, make in _affordable(SOURCE, x).items()}
    seen: dict[str, np.ndarray] = {}
    for inside, outside in folds.split(u, v):
        for name, said in all_said(source, x, y, u[inside], v[inside], u[outside], seed, numbers).items():
            seen.setdefault(name, np.zeros(len(u)))[outside] = said
    best = sorted(seen, key=lambda name: -score(v, seen[name]))[:BEST]
    return all_said(source, x, y, u, v, w, seed, numbers), best
