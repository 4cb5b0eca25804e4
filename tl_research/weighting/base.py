"""What a weighting is, and what is said about the weights it gives."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tl_research.config import check
from tl_research.registry import Registry

WEIGHTINGS = Registry("weighting", "tl_research.weighting", "method.weighting")

Fact = float | int | str | bool
_log = logging.getLogger(__name__)
_noted: ContextVar[dict[str, Fact] | None] = ContextVar("facts of the weighting that is running", default=None)


@dataclass
class WeightingConfig:
    """Options that every weighting has: what is done to the raw weights.

    w <- w^temper (1 leaves them, 0 makes them equal), then clipped to at most `clip` times their mean, then
    scaled to mean 1 (self-normalised).
    """

    name: str = "none"
    temper: float = 1.0
    clip: float | None = None
    warn_below: float = 0.05  # effective share of the rows below which a warning is given

    def __post_init__(self):
        check(0 <= self.temper <= 1, "method.weighting.temper", self.temper, "0 <= temper <= 1")
        if self.clip is not None:
            check(self.clip >= 1, "method.weighting.clip", self.clip, "1 or more (times the mean weight)")
        check(0 <= self.warn_below <= 1, "method.weighting.warn_below", self.warn_below, "a share from 0 to 1")


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


class Weights(NamedTuple):
    """Finished weights and what is said about them.

    Fields:
        weight: (n,) float64 >= 0, mean 1.
        facts: `effective_sample_size`, `effective_share` (of the n rows), `largest` (times the mean), what the
            weighting noted of itself (path taken, width chosen, ...), and `warning` where there is one.
    """

    weight: Tensor
    facts: dict[str, Fact]


def weigh(
    source: Tensor, target: Tensor, config: WeightingConfig, *, label: Tensor | None = None, seed: int
) -> Weights:
    """Weigh the source rows by the weighting that `config.name` names; `none` gives every row the weight 1.

    Args:
        source: (n, d) standardised float. target: (m, d), standardised alike.
        config: an instance of the weighting's own config class.
        label: (n,) class index of the source rows, for weightings that read it.
        seed: of whatever is drawn; the same seed gives the same weights.

    Raises:
        ConfigError: no such weighting. DataError: rows it cannot use. ValueError: weights that are not weights.
    """
    facts: dict[str, Fact] = {}
    if config.name == "none":
        raw = torch.ones(len(source), dtype=torch.float64, device=source.device)
    else:
        compute = WEIGHTINGS.get(config.name).target
        token = _noted.set(facts)
        try:
            raw = compute(source, target, config, label=label, seed=seed)
        finally:
            _noted.reset(token)
    weight = finished(raw, config)
    effective = effective_sample_size(weight)
    share = effective / len(weight)
    facts = {"effective_sample_size": effective, "effective_share": share, "largest": float(weight.max()), **facts}
    if share < config.warn_below:
        warn_into(
            facts,
            f"method.weighting: {config.name} leaves an effective share of {share:.3g} of {len(weight)} source rows "
            f"(below {config.warn_below:g}); the domains hardly overlap, or temper or clip the weights",
        )
    return Weights(weight, facts)


def note(**facts: Fact) -> None:
    """Called by a weighting: add facts about how the weights came about to what `weigh` returns.

    A key `warning` is logged, and joins the warnings that are there. Outside of `weigh` only the log sees it.
    """
    kept = _noted.get()
    kept = {} if kept is None else kept
    warning = facts.pop("warning", None)
    kept.update(facts)
    if warning is not None:
        warn_into(kept, warning)


def warn_into(facts: dict[str, Fact], text: str) -> None:
    """Log a warning and keep it in `facts["warning"]` behind those that are there."""
    _log.warning(text)
    facts["warning"] = f"{facts['warning']}; {text}" if "warning" in facts else text
