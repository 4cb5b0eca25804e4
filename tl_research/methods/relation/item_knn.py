"""Items bought by the same users, as methods."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.config import at_least
from tl_research.methods.fitted_recommender import FittedRecommendingConfig, register_recommender
from tl_research.recommenders.item_knn import CoOccurrence, ItemKNN


@dataclass
class ItemKNNConfig(FittedRecommendingConfig):
    """Group `method` of `item_knn`."""

    name: str = "item_knn"
    neighbours: int = at_least(1, default=200)
    shrink: float = at_least(0, default=10.0)
    user_power: float = at_least(0, default=0.0)
    use_sources: bool = False


@dataclass
class CoOccurrenceConfig(FittedRecommendingConfig):
    """Group `method` of `co_occurrence`."""

    name: str = "co_occurrence"
    use_sources: bool = False


register_recommender(
    "item_knn", ItemKNN, config=ItemKNNConfig, paper="Deshpande & Karypis 2004, ACM TOIS 22(1), section 4"
)
register_recommender(
    "co_occurrence",
    CoOccurrence,
    config=CoOccurrenceConfig,
    paper="none: shared buyers",
)
