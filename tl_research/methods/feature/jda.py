"""Joint distribution adaptation."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.alignment.base import Alignment
from tl_research.alignment.jda import JDA
from tl_research.methods.closed_form import ClosedForm
from tl_research.methods.projection_config import ProjectionConfig
from tl_research.registry import register_method


@dataclass
class JDAConfig(ProjectionConfig):
    name: str = "jda"
    marginal_weight: float | str = 1.0  # of the domains' term; classes: their number, as in the authors' code
    iterations: int = 10
    pseudo_labels: str = "nearest"
    reference_rows: int = 20_000  # most source rows that 1-NN pseudo-labels compare with

    def __post_init__(self):
        super().__post_init__()
        JDA(**self.options())  # refuses what is out of range


@register_method(
    "jda",
    config=JDAConfig,
    family="feature",
    settings=("unsupervised", "few_shot", "supervised"),
    paper="Long et al. 2013, ICCV, eq. 9 and algorithm 1",
    encoder="identity",
    targets=("class",),
    problem=("method.components=3",),
    gain=0.02,
    over=("joint_pca", "method.components=3"),
)
class JDAMethod(ClosedForm):
    """Components of equal domain and class means, by pseudo-labels: TCA with L = Σ_{c=0..C} M_c, round by round."""

    def make_alignment(self) -> Alignment:
        return JDA(**self.config.options())
