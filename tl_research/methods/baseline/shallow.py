"""A fitted head on the source rows as they are: what every closed-form method must beat."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.alignment.base import Alignment
from tl_research.alignment.none import NoAlignment
from tl_research.methods.closed_form import ClosedForm, ClosedFormConfig
from tl_research.registry import register_method


@dataclass
class ShallowConfig(ClosedFormConfig):
    name: str = "shallow"


@register_method(
    "shallow",
    config=ShallowConfig,
    family="baseline",
    settings=("unsupervised", "few_shot", "supervised"),
    paper="empirical risk minimisation on the source",
    encoder="identity",
)
class Shallow(ClosedForm):
    """Fit a shallow head (1-NN, logistic, ridge, SVM) to the source rows as they are: no alignment.

    With `method.weighting` it is the classical re-weighted classifier, such as KMM and logistic regression.
    """

    estimates = False

    def make_alignment(self) -> Alignment:
        return NoAlignment()
