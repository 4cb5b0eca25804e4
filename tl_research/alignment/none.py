"""No alignment."""

from __future__ import annotations

from torch import Tensor

from tl_research.alignment.base import Alignment, register_alignment


@register_alignment("shallow", family="baseline", paper="empirical risk minimisation on the source")
class NoAlignment(Alignment):
    """Fit a shallow head (1-NN, logistic, ridge, SVM) to the source rows as they are: no alignment.

    It is the baseline of every alignment; with `method.weighting` the classical re-weighted classifier, such as KMM
    and logistic regression.
    """

    estimates = False

    def fit(self, source, target, *, labeled=None, classes, seed) -> None:
        """There is nothing to fit."""

    def target(self, x: Tensor) -> Tensor:
        return x
