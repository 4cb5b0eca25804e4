"""Balanced distribution adaptation."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.alignment.base import Alignment
from tl_research.alignment.bda import BDA
from tl_research.methods.closed_form import ClosedForm
from tl_research.methods.projection_config import ProjectionConfig
from tl_research.registry import register_method


@dataclass
class BDAConfig(ProjectionConfig):
    name: str = "bda"
    balance: float = 0.5
    weighted: bool = False
    iterations: int = 10
    pseudo_labels: str = "nearest"
    reference_rows: int = 20_000  # most source rows that 1-NN pseudo-labels compare with

    def __post_init__(self):
        super().__post_init__()
        BDA(**self.options())  # refuses what is out of range


@register_method(
    "bda",
    config=BDAConfig,
    family="feature",
    settings=("unsupervised", "few_shot", "supervised"),
    paper="Wang et al. 2017, ICDM, eq. 7 and 12",
    encoder="identity",
    targets=("class",),
    problem=("method.components=3",),
    gain=0.02,
    over=("joint_pca", "method.components=3"),
)
class BDAMethod(ClosedForm):
    """JDA with L = (1 - μ) M_0 + μ Σ_c M_c, and class shares in M_c where weighted (W-BDA)."""

    def make_alignment(self) -> Alignment:
        return BDA(**self.config.options())
