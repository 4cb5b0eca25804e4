"""Heads by name."""

from __future__ import annotations

from tl_research.heads.base import Head
from tl_research.heads.linear import LinearSVM, Logistic, Ridge
from tl_research.heads.nearest import NearestNeighbours

#: Fitted once; `mlp` is the one head that is trained by gradient steps.
FITTED_HEADS = ("nearest_neighbours", "logistic", "ridge", "linear_svm")
HEADS = (*FITTED_HEADS, "mlp")


def make_head(name: str, *, neighbours: int, penalty: float) -> Head:
    """Return an unfitted head of `FITTED_HEADS`."""
    if name == "nearest_neighbours":
        return NearestNeighbours(neighbours)
    return {"logistic": Logistic, "ridge": Ridge, "linear_svm": LinearSVM}[name](penalty)
