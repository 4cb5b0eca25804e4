"""Transfer component analysis."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.alignment.base import Alignment
from tl_research.alignment.tca import TCA
from tl_research.methods.closed_form import ClosedForm
from tl_research.methods.projection_config import ProjectionConfig
from tl_research.registry import register_method


@dataclass
class TCAConfig(ProjectionConfig):
    name: str = "tca"

    def __post_init__(self):
        super().__post_init__()
        TCA(**self.options())  # refuses what is out of range


@register_method(
    "tca",
    config=TCAConfig,
    family="feature",
    settings=("unsupervised", "few_shot", "supervised"),
    paper="Pan et al. 2011, IEEE TNN 22(2), eq. 8",
    encoder="identity",
    problem=("method.components=3",),
    gain=0.02,
    over=("joint_pca", "method.components=3"),
)
class TCAMethod(ClosedForm):
    """Components of equal domain means: min tr(W'KLKW) + λ||W||² with W'KHKW = I, then a head."""

    def make_alignment(self) -> Alignment:
        return TCA(**self.config.options())
