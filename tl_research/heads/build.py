"""Heads by name."""

from __future__ import annotations

from tl_research.config import check
from tl_research.heads.base import Head
from tl_research.heads.boosting import Boosting
from tl_research.heads.linear import LinearSVM, Logistic, Ridge
from tl_research.heads.nearest import NearestNeighbours
from tl_research.heads.regression import BoostingRegression, NearestNeighbourRegression, RidgeRegression

#: Fitted once; `mlp` is the one head that is trained by gradient steps.
FITTED_HEADS = ("nearest_neighbours", "logistic", "ridge", "linear_svm", "boosting")
HEADS = (*FITTED_HEADS, "mlp")


#: Those of them that predict a number too.
REGRESSION_HEADS = ("nearest_neighbours", "ridge", "boosting")


def make_head(name: str, *, neighbours: int, penalty: float, regression: bool = False) -> Head:
    """Return an unfitted head of `FITTED_HEADS`; for regression of `REGRESSION_HEADS`.

    Raises:
        ConfigError: a head of classes for regression.
    """
    if regression:
        wants = f"one of {', '.join(REGRESSION_HEADS)} or mlp, because the label is a regression target"
        check(name in REGRESSION_HEADS, "method.head", name, wants)
        if name == "nearest_neighbours":
            return NearestNeighbourRegression(neighbours)
        return RidgeRegression(penalty) if name == "ridge" else BoostingRegression(penalty=penalty)
    if name == "nearest_neighbours":
        return NearestNeighbours(neighbours)
    if name == "boosting":
        return Boosting(penalty=penalty)
    return {"logistic": Logistic, "ridge": Ridge, "linear_svm": LinearSVM}[name](penalty)
