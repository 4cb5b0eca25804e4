"""Training on the shown target labels alone: what transfer must beat where there are some."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.config import MethodConfig
from tl_research.methods.base import AdaptationModule
from tl_research.registry import register_method


@dataclass
class TargetOnlyConfig(MethodConfig):
    """Options of `target_only`: none of its own."""

    name: str = "target_only"


@register_method(
    "target_only",
    config=TargetOnlyConfig,
    family="baseline",
    settings=("few_shot", "supervised"),
    paper="empirical risk minimisation on the shown target labels",
)
class TargetOnly(AdaptationModule):
    """Train on the target labels that the setting shows, and on no source: mean CE(target_labeled)."""

    reads = frozenset(("target_labeled",))
