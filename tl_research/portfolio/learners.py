"""The learners of a portfolio: heads with options that suit the number of rows, of classes and of numbers."""

from __future__ import annotations

from torch import Tensor

from tl_research.heads.base import Head
from tl_research.heads.boosting import Boosting, PooledBinsClassifier
from tl_research.heads.build import make_head
from tl_research.heads.linear import Logistic
from tl_research.heads.regression import BoostingRegression, PooledBinsRegressor, RidgeRegression

#: Up to this many rows a booster's leaves may be small.
FEW_ROWS = 400


class BoundedRidge(RidgeRegression):
    """`RidgeRegression` that says no number further outside the labels it has seen than half of their range.

    One odd row, far out in a column, is else given a number that no label comes near, and R² is lost to it.
    """

    def fit(self, features: Tensor, label: Tensor, weight: Tensor | None, *, classes: int, seed: int) -> None:
        super().fit(features, label, weight, classes=classes, seed=seed)
        half = (label.max() - label.min()) / 2
        self.keep(low=(label.min() - half).to(features), high=(label.max() + half).to(features))

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features).clamp(self.low, self.high)


class EvenBoosting(Boosting):
    """`Boosting` whose weights do not move the bins' edges: weighted quantiles take twice the time of the fit."""

    estimator_class = PooledBinsClassifier


class EvenBoostingRegression(BoostingRegression):
    """`EvenBoosting` of numbers."""

    estimator_class = PooledBinsRegressor


#: By kind of outcome.
LINEAR = {"class": Logistic, "regression": BoundedRidge}
BOOSTING = {"class": EvenBoosting, "regression": EvenBoostingRegression}


def make_learner(name: str, kind: str, rows: int, *, trees: int = 300, tree_rows: int | None = None) -> Head:
    """Return an unfitted learner.

    Args:
        name: `linear` (logistic regression or ridge), `strict` (the same with 30 times the penalty), `forest` or
            `boosting`.
        kind: of the outcome, `class` or `regression`.
        rows: that it will be fitted to.
        trees: of a forest.
        tree_rows: most rows that one of them is grown on.
    """
    if name in ("linear", "strict"):
        return LINEAR[kind](penalty=1.0 if name == "linear" else 30.0)
    if name == "forest":
        return make_head(name, of=kind, trees=trees, min_rows=2, rows=tree_rows)
    return BOOSTING[kind](min_rows=5 if rows <= FEW_ROWS else 20)
