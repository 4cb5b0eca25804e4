"""EASE and its transfer forms, as methods."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.config import above
from tl_research.methods.fitted_recommender import FittedRecommendingConfig, register_recommender
from tl_research.recommenders.ease import CrossEase, Ease, MarketEase

STECK = "Steck 2019, WWW, equations 5 to 8"


@dataclass
class EaseConfig(FittedRecommendingConfig):
    """Group `method` of `ease`."""

    name: str = "ease"
    ridge: float = above(0, default=100.0)
    use_sources: bool = False


@dataclass
class CrossEaseConfig(FittedRecommendingConfig):
    """Group `method` of `cross_ease`."""

    name: str = "cross_ease"
    ridge: float = above(0, default=100.0)  # of the target's items
    source_ridge: float = above(0, default=300.0)  # of the sources' items; .inf: EASE on the target alone


@dataclass
class MarketEaseConfig(FittedRecommendingConfig):
    """Group `method` of `market_ease`."""

    name: str = "market_ease"
    ridge: float = above(0, default=50.0)
    source_weight: float = above(0, default=0.1)  # of a purchase in a source market


register_recommender("ease", Ease, config=EaseConfig, paper=STECK)
register_recommender("cross_ease", CrossEase, config=CrossEaseConfig, paper=f"{STECK}; a ridge per domain is ours")
register_recommender("market_ease", MarketEase, config=MarketEaseConfig, paper=f"{STECK}; Bonab et al. 2021, CIKM")
