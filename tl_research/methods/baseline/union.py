"""Training on source and shown target labels together."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.config import MethodConfig
from tl_research.methods.base import AdaptationModule
from tl_research.registry import register_method


@dataclass
class UnionConfig(MethodConfig):
    """Options of `union`: none of its own."""

    name: str = "union"


@register_method(
    "union",
    config=UnionConfig,
    family="baseline",
    settings=("few_shot", "supervised"),
    paper="empirical risk minimisation on both domains",
)
class Union(AdaptationModule):
    """Train on both domains' labels at once, each weighing half: (CE(source) + CE(target_labeled)) / 2."""

    reads = frozenset(("source", "target_labeled"))
