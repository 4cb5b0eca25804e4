"""Transfer joint matching."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.alignment.base import Alignment
from tl_research.alignment.tjm import TJM
from tl_research.methods.closed_form import ClosedForm
from tl_research.methods.projection_config import ProjectionConfig
from tl_research.registry import register_method


@dataclass
class TJMConfig(ProjectionConfig):
    name: str = "tjm"
    components: int = 20
    kernel: str = "linear"
    iterations: int = 10

    def __post_init__(self):
        super().__post_init__()
        TJM(**self.options())  # refuses what is out of range


@register_method(
    "tjm",
    config=TJMConfig,
    family="feature",
    settings=("unsupervised", "few_shot", "supervised"),
    paper="Long et al. 2014, CVPR, eq. 9 and algorithm 1",
    encoder="identity",
    problem=("method.components=3",),
    gain=0.02,
    over=("joint_pca", "method.components=3"),
)
class TJMMethod(ClosedForm):
    """Components of equal domain means that let go of source rows: λ(||A_s||_{2,1} + ||A_t||²) for TCA's λ||A||²."""

    def make_alignment(self) -> Alignment:
        return TJM(**self.config.options())
