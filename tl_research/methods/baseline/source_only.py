"""Training on the source alone: what every other method must beat."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.config import MethodConfig
from tl_research.methods.base import AdaptationModule
from tl_research.registry import register_method


@dataclass
class SourceOnlyConfig(MethodConfig):
    """Options of `source_only`: none of its own."""

    name: str = "source_only"


@register_method(
    "source_only",
    config=SourceOnlyConfig,
    family="baseline",
    settings=("unsupervised", "few_shot", "supervised"),
    paper="empirical risk minimisation on the source",
)
class SourceOnly(AdaptationModule):
    """Train on the labelled source, apply to the target: mean CE(source)."""

    reads = frozenset(("source",))
