"""Correlation alignment in closed form."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.alignment.base import Alignment
from tl_research.alignment.coral import CORAL
from tl_research.methods.closed_form import ClosedForm, ClosedFormConfig
from tl_research.registry import register_method


@dataclass
class ClosedFormCORALConfig(ClosedFormConfig):
    name: str = "coral"
    ridge: float = 1.0  # lambda, in squared units of the features
    match_means: bool = True

    def __post_init__(self):
        super().__post_init__()
        CORAL(ridge=self.ridge, match_means=self.match_means)  # refuses what is out of range


@register_method(
    "coral",
    config=ClosedFormCORALConfig,
    family="feature",
    settings=("unsupervised", "few_shot", "supervised"),
    paper="Sun, Feng & Saenko 2016, AAAI, algorithm 1",
    encoder="identity",
    gain=0.06,
)
class ClosedFormCORAL(ClosedForm):
    """Whiten the source and colour it as the target, then a head.

    x_s -> (x_s - mean_s) (C_s + ridge I)^-1/2 (C_t + ridge I)^1/2 + mean_t.
    """

    def make_alignment(self) -> Alignment:
        config = self.config
        return CORAL(ridge=config.ridge, match_means=config.match_means)
