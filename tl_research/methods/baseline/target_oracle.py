"""Training on every target label: the upper bound that a table is read against."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.config import MethodConfig
from tl_research.methods.base import AdaptationModule
from tl_research.registry import register_method


@dataclass
class TargetOracleConfig(MethodConfig):
    """Options of `target_oracle`: none of its own."""

    name: str = "target_oracle"


@register_method(
    "target_oracle",
    config=TargetOracleConfig,
    family="baseline",
    settings=("supervised",),
    paper="empirical risk minimisation on all target training labels",
)
class TargetOracle(AdaptationModule):
    """Train on all target training labels, an upper bound and no method: mean CE(target)."""

    reads = frozenset(("target_labeled",))
