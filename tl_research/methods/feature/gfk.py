"""The geodesic flow kernel."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.alignment.base import Alignment
from tl_research.alignment.gfk import GFK
from tl_research.methods.closed_form import ClosedForm, ClosedFormConfig
from tl_research.registry import register_method


@dataclass
class GeodesicFlowKernelConfig(ClosedFormConfig):
    name: str = "gfk"
    components: int | None = None  # of each subspace; null: 20, or the rank where that is smaller
    source_subspace: str = "pca"  # or pls: partial least squares on the source's labels

    def __post_init__(self):
        super().__post_init__()
        GFK(components=self.components, source_subspace=self.source_subspace)  # refuses what is out of range


@register_method(
    "gfk",
    config=GeodesicFlowKernelConfig,
    family="feature",
    settings=("unsupervised", "few_shot", "supervised"),
    paper="Gong et al. 2012, CVPR, eq. 3-6",
    encoder="identity",
    gain=0.06,
)
class GeodesicFlowKernel(ClosedForm):
    """Compare rows by the integral over all subspaces between the domains' own, x -> x G^1/2, then a head."""

    def make_alignment(self) -> Alignment:
        config = self.config
        return GFK(components=config.components, source_subspace=config.source_subspace)
