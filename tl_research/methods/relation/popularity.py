"""What everybody buys, as a method."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.config import bounded
from tl_research.methods.fitted_recommender import FittedRecommendingConfig, register_recommender
from tl_research.recommenders.popularity import Popularity


@dataclass
class PopularityConfig(FittedRecommendingConfig):
    """Group `method` of `popularity`."""

    name: str = "popularity"
    # Share of the target's interactions that count, the latest ones.
    recent: float = bounded(lambda value: 0 < value <= 1, "a share above 0 and at most 1", default=1.0)
    use_sources: bool = False


register_recommender("popularity", Popularity, config=PopularityConfig, paper="none: a count")
