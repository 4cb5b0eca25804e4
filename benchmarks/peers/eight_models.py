"""The plain script: eight scikit-learn models, none tuned; the mean rank by the three of best cross-validated AUROC.

Old rows (x, y), new rows with labels (u, v), and new rows to be ranked (w), as numbers; two classes, 0 and 1. Of numbers
to predict it is the mean of the three of best cross-validated R². Boosters are left out above 1,000 columns.
It imports nothing of this project.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

BEST = 3


def linear(seed: int, rows: int):
    return make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=2000))


def boosting(seed: int, rows: int):
    return HistGradientBoostingClassifier(max_iter=100, min_samples_leaf=5 if rows <= 400 else 20, random_state=seed)


def forest(seed: int, rows: int):
    return RandomForestClassifier(300, min_samples_leaf=2, random_state=seed)


SOURCE = {"source linear": linear, "source boosting": boosting, "source forest": forest}
TARGET = {"target linear": linear, "target forest": forest}
POOLED = {"pooled linear": linear, "pooled boosting": boosting}


def chance(model, rows: np.ndarray) -> np.ndarray:
    return model.predict_proba(rows)[:, 1]


def pooled(make, x, y, u, v, w, seed: int) -> np.ndarray:
    """Both domains with a column that tells them apart, each with half of the weight."""
    rows = np.vstack([np.column_stack([x, np.zeros(len(x))]), np.column_stack([u, np.ones(len(u))])])
    weight = np.concatenate([np.full(len(x), 0.5 / len(x)), np.full(len(u), 0.5 / len(u))]) * len(rows)
    model = make(seed, len(rows))
    last = {"logisticregression__sample_weight": weight} if hasattr(model, "steps") else {"sample_weight": weight}
    model.fit(rows, np.concatenate([y, v]), **last)
    return chance(model, np.column_stack([w, np.ones(len(w))]))


def chances(source: dict, x, y, u, v, w, seed: int) -> dict[str, np.ndarray]:
    """What each of the eight says of the rows w; `source` are the models of the old rows, fitted."""
    said = {name: chance(model, w) for name, model in source.items()}
    for name, make in TARGET.items():
        said[name] = chance(make(seed, len(u)).fit(u, v), w)
    for name, make in POOLED.items():
        said[name] = pooled(make, x, y, u, v, w, seed)
    known, asked = (np.column_stack([rows, *(chance(model, rows) for model in source.values())]) for rows in (u, w))
    said["scores forest"] = chance(forest(seed, len(u)).fit(known, v), asked)
    return said


def best_three(x, y, u, v, w, *, seed: int) -> tuple[np.ndarray, list[str]]:
    """Return the mean rank (n,) of the rows w by the three of best cross-validated AUROC on u, and their names."""
    source = {name: make(seed, len(x)).fit(x, y) for name, make in SOURCE.items()}
    seen: dict[str, np.ndarray] = {}
    for inside, outside in StratifiedKFold(5, shuffle=True, random_state=seed).split(u, v):
        for name, said in chances(source, x, y, u[inside], v[inside], u[outside], seed).items():
            seen.setdefault(name, np.zeros(len(u)))[outside] = said
    best = sorted(seen, key=lambda name: -roc_auc_score(v, seen[name]))[:BEST]
    said = chances(source, x, y, u, v, w, seed)
    return np.mean([rankdata(said[name]) for name in best], axis=0), best
