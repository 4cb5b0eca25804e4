"""What a weighting is, and what is said about the weights it gives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.config import check
from tl_research.registry import Registry

WEIGHTINGS = Registry("weighting", "tl_research.weighting", "method.weighting")


@dataclass
class WeightingConfig:
    """Options that every weighting has: what is done to the raw weights.

    w <- w^temper (1 leaves them, 0 makes them equal), then clipped to at most `clip` times their mean, then
    scaled to mean 1 (self-normalised).
    """

    name: str = "none"
    temper: float = 1.0
    clip: float | None = None

    def __post_init__(self):
        check(0 <= self.temper <= 1, "method.weighting.temper", self.temper, "0 <= temper <= 1")
        if self.clip is not None:
            check(self.clip >= 1, "method.weighting.clip", self.clip, "1 or more (times the mean weight)")


def register_weighting(name: str, *, config: type[WeightingConfig], paper: str):
    """Register a function (source (n, d), target (m, d), config, *, label (n,), seed) -> raw weights (n,) >= 0."""
    return WEIGHTINGS.register(name, config=config, paper=paper)


def finished(raw: Tensor, config: WeightingConfig) -> Tensor:
    """Temper, clip and self-normalise raw weights (n,) >= 0; float64, mean 1.

    Raises:
        ValueError: a weight that is negative or not finite, or all of them 0.
    """
    raw = raw.double()
    if not bool((raw.isfinite() & (raw >= 0)).all()):
        raise ValueError(f"method.weighting: {config.name} gave a weight that is negative or not finite")
    if not bool((raw > 0).any()):
        raise ValueError(f"method.weighting: {config.name} gave every row the weight 0")
    weight = torch.where(raw > 0, raw**config.temper, 0.0)
    if config.clip is not None:
        weight = weight.clamp_max(config.clip * weight.mean())
    return weight / weight.mean()


def effective_sample_size(weight: Tensor) -> float:
    """(Σ w)² / Σ w²: how many rows of equal weight would vary as much (Kish 1965)."""
    weight = weight.double()
    return float(weight.sum().square() / weight.square().sum())
