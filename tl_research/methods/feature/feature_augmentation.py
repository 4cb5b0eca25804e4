"""Shared columns beside columns of each domain's own."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.alignment.base import Alignment
from tl_research.alignment.feature_augmentation import FeatureAugmentation
from tl_research.methods.closed_form import ClosedForm, ClosedFormConfig
from tl_research.registry import register_method


@dataclass
class EasyAdaptConfig(ClosedFormConfig):
    name: str = "feature_augmentation"


@register_method(
    "feature_augmentation",
    config=EasyAdaptConfig,
    family="feature",
    settings=("few_shot", "supervised"),
    paper="Daumé III 2007, ACL, eq. 1",
    encoder="identity",
    gain=0.1,
    # It undoes another P(y|x), not another recording of x.
    problem=("data.measurement_shift=0", "data.concept_shift=1.57"),
)
class EasyAdapt(ClosedForm):
    """Give each domain a copy of the columns, source [x, x, 0] and target [x, 0, x], then a head on all labels."""

    estimates = False

    def make_alignment(self) -> Alignment:
        return FeatureAugmentation()
