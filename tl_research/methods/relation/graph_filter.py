"""Filters of the graph of users and items, as methods."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.config import at_least, share
from tl_research.methods.fitted_recommender import FittedRecommendingConfig, register_recommender
from tl_research.recommenders.graph_filter import CrossGraphFilter, GraphFilter


@dataclass
class GraphFilterConfig(FittedRecommendingConfig):
    """Group `method` of `graph_filter`."""

    name: str = "graph_filter"
    rank: int = at_least(1, default=256)
    alpha: float = at_least(0, default=0.3)
    use_sources: bool = False


@dataclass
class CrossGraphFilterConfig(FittedRecommendingConfig):
    """Group `method` of `cross_graph_filter`."""

    name: str = "cross_graph_filter"
    bridge: float = share(default=0.3)
    history: float = at_least(0, default=0.5)


register_recommender("graph_filter", GraphFilter, config=GraphFilterConfig, paper="Shen et al. 2021, CIKM, algorithm 1")
register_recommender(
    "cross_graph_filter", CrossGraphFilter, config=CrossGraphFilterConfig, paper="Lee et al. 2024, arXiv 2407.12374"
)
