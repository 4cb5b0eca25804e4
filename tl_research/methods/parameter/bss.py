"""Batch spectral shrinkage."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.config import at_least
from tl_research.losses.bss import bss
from tl_research.methods.base import Step
from tl_research.methods.staged import ParameterConfig, ParameterMethod
from tl_research.registry import register_method


@dataclass
class BSSConfig(ParameterConfig):
    """Options of `bss`: the weight of the penalty, and how many singular values it is on."""

    name: str = "bss"
    weight: float = at_least(0, default=1e-3)
    k: int = at_least(1, default=1)  # how many of the smallest singular values


@register_method(
    "bss",
    config=BSSConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="Chen et al. 2019, NeurIPS, section 4 (BSS)",
    # The default does next to nothing to features as narrow as the problem's.
    problem=("method.weight=1.0",),
    gain=0.015,
    gain_in="log_loss",
)
class BSS(ParameterMethod):
    """Fine-tune with weight * the sum of the k smallest squared singular values of each batch's features.

    A batch that has fewer than k of them pays for all.
    """

    def terms(self, step: Step) -> dict[str, Tensor]:
        features = step.labeled.features
        return {"bss": self.config.weight * bss(features, k=min(self.config.k, *features.shape))}
