"""Weighted matrix factorisation by alternating least squares, as a method."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.config import above, at_least
from tl_research.methods.fitted_recommender import FittedRecommendingConfig, register_recommender
from tl_research.recommenders.als import ImplicitALS


@dataclass
class ALSConfig(FittedRecommendingConfig):
    """Group `method` of `als`."""

    name: str = "als"
    rank: int = at_least(1, default=64)
    ridge: float = above(0, default=1.0)
    alpha: float = above(0, default=10.0)
    sweeps: int = at_least(1, default=15)
    steps: int = at_least(1, default=3)
    use_sources: bool = False


register_recommender("als", ImplicitALS, config=ALSConfig, paper="Hu, Koren & Volinsky 2008, ICDM, equations 4 and 5")
