"""Optimal transport between Gaussians."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.alignment.base import Alignment
from tl_research.alignment.linear_monge import LinearMonge
from tl_research.methods.closed_form import ClosedForm, ClosedFormConfig
from tl_research.registry import register_method


@dataclass
class LinearMongeMapConfig(ClosedFormConfig):
    name: str = "linear_monge"
    ridge: float = 1e-6  # added to both covariances, in squared units of the features

    def __post_init__(self):
        super().__post_init__()
        LinearMonge(ridge=self.ridge)  # refuses what is out of range


@register_method(
    "linear_monge",
    config=LinearMongeMapConfig,
    family="feature",
    settings=("unsupervised", "few_shot", "supervised"),
    paper="Knott & Smith 1984; Flamary et al. 2019, arXiv:1905.10155, eq. 5",
    encoder="identity",
    gain=0.06,
)
class LinearMongeMap(ClosedForm):
    """Move the source by the optimal map between two Gaussians, x_s -> (x_s - mean_s) A + mean_t, then a head."""

    def make_alignment(self) -> Alignment:
        config = self.config
        return LinearMonge(ridge=config.ridge)
