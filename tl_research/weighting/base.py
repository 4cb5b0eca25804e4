"""What a weighting is, and what is said about the weights it gives."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tl_research.config import WeightingConfig
from tl_research.errors import DataError
from tl_research.registry import WEIGHTINGS

_log = logging.getLogger(__name__)


class Weights(NamedTuple):
    """`weight`: (n,) float64 of mean 1. `facts`: effective_sample_size, effective_share, largest, the method's own."""

    weight: Tensor
    facts: dict[str, Any]


def weigh(
    source: Tensor, target: Tensor, config: WeightingConfig, *, label: Tensor | None = None, seed: int
) -> Weights:
    """Weigh source rows (n, d) towards target rows (m, d); warns where few rows bear the weight.

    Raises:
        DataError (a ValueError): the weighting gave a weight that is negative or not finite, or all of them 0.
    """
    raw = WEIGHTINGS.get(config.name).target(source, target, config, label=label, seed=seed)
    raw, own = raw if isinstance(raw, tuple) else (raw, {})
    weight = finished(raw, config)
    size = effective_sample_size(weight)
    facts = {
        "name": config.name,
        "effective_sample_size": size,
        "effective_share": size / len(weight),
        "largest": float(weight.max()),
        **own,
    }
    warnings = [own["warning"]] if "warning" in own else []
    if facts["effective_share"] < config.warn_below:
        warnings.append(
            f"{config.name}: the weights are worth {size:.0f} of {len(weight)} source rows; "
            "method.weighting.clip or .temper evens them out"
        )
    if warnings:
        facts["warning"] = "; ".join(warnings)
        _log.warning(facts["warning"])
    return Weights(weight, facts)


def finished(raw: Tensor, config: WeightingConfig) -> Tensor:
    """Temper, clip and self-normalise raw weights (n,) >= 0; float64, mean 1.

    Raises:
        DataError (a ValueError): a weight that is negative or not finite, or all of them 0.
    """
    raw = raw.double()
    if not bool((raw.isfinite() & (raw >= 0)).all()):
        wrong = raw[~(raw.isfinite() & (raw >= 0))]
        raise DataError(
            f"method.weighting: {config.name} gave {len(wrong)} of {len(raw)} source rows a weight that is negative or "
            f"not finite ({float(wrong[0]):g}); other options of it, or another weighting, may do"
        )
    if not bool((raw > 0).any()):
        raise DataError(
            f"method.weighting: {config.name} gave every row the weight 0: it finds no source row that is like the "
            "target's; a wider bandwidth or another weighting may do"
        )
    if not 1e-100 < float(raw.max()) < 1e100:  # weights are relative: powers and sums of these leave float64
        raw = raw / raw.max()
    weight = torch.where(raw > 0, raw**config.temper, 0.0)
    if config.clip is not None:
        weight = weight.clamp_max(config.clip * weight.mean())
    return weight / weight.mean()


def effective_sample_size(weight: Tensor) -> float:
    """(Σ w)² / Σ w²: how many rows of equal weight would vary as much (Kish 1965)."""
    weight = weight.double()
    return float(weight.sum().square() / weight.square().sum())
