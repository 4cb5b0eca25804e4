"""Optimal transport of the source onto the target, then a shallow head."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.alignment.base import Alignment
from tl_research.alignment.ot_mapping import OTMapping
from tl_research.methods.closed_form import ClosedForm, ClosedFormConfig
from tl_research.registry import register_method


@dataclass
class OTMappingConfig(ClosedFormConfig):
    name: str = "ot_mapping"
    solver: str = "entropic"  # or exact, class_regularized, group_lasso
    regularization: float = 0.1  # of the entropy, times the unit of the cost
    unit: str = "median"  # of the cost matrix; or mean, max, none
    class_weight: float = 0.1  # solver=class_regularized, group_lasso: of the group term, times the unit of the cost
    tolerance: float = 1e-6  # on the sum of absolute marginal errors
    max_iterations: int = 1000
    rows: str = "auto"  # all; landmarks: centroids stand for rows; auto: landmarks above dense_rows
    dense_rows: int = 10_000
    landmarks: int = 2000  # a side
    out_of_sample: str = "nearest"  # or entropic, the smooth map of the potentials

    def __post_init__(self):
        super().__post_init__()
        mapping_of(self)


def mapping_of(config: OTMappingConfig) -> OTMapping:
    """Return the unfitted alignment; it checks the ranges of its options."""
    own = set(OTMappingConfig.__dataclass_fields__) - set(ClosedFormConfig.__dataclass_fields__)
    return OTMapping(**{name: getattr(config, name) for name in own})


@register_method(
    "ot_mapping",
    config=OTMappingConfig,
    family="feature",
    settings=("unsupervised", "few_shot", "supervised"),
    paper="Courty et al. 2017, IEEE TPAMI 39(9), eq. 14",
    gain=0.05,
    encoder="identity",
)
class OTMappingMethod(ClosedForm):
    """Move each source row to the barycentre of the target rows that an optimal plan sends it to, then fit a head."""

    def make_alignment(self) -> Alignment:
        return mapping_of(self.config)
