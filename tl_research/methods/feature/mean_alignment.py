"""Moving the source to the target's column means."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.alignment.base import Alignment
from tl_research.alignment.mean_alignment import MeanAlignment
from tl_research.methods.closed_form import ClosedForm, ClosedFormConfig
from tl_research.registry import register_method


@dataclass
class MeanAlignConfig(ClosedFormConfig):
    name: str = "mean_alignment"
    scale: bool = False  # match standard deviations too

    def __post_init__(self):
        super().__post_init__()
        MeanAlignment(scale=self.scale)  # refuses what is out of range


@register_method(
    "mean_alignment",
    config=MeanAlignConfig,
    family="feature",
    settings=("unsupervised", "few_shot", "supervised"),
    paper="first moments of linear optimal transport; Flamary et al. 2019, arXiv:1905.10155",
    encoder="identity",
    gain=0.06,
)
class MeanAlign(ClosedForm):
    """Move the source to the target's means, x_s -> x_s - mean_s + mean_t, then a head."""

    def make_alignment(self) -> Alignment:
        config = self.config
        return MeanAlignment(scale=config.scale)
