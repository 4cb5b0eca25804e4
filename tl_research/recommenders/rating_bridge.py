"""Ratings of users whom only the old shop knows: a map from old-shop vectors to new-shop ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tl_research.interactions.training import Training
from tl_research.recommenders.rating import RatingModel
from tl_research.recommenders.rating_factors import BiasedFactors, products


class BridgedFactors(RatingModel):
    """Factors of each shop by themselves, then θ_new ≈ a + A θ_old for users, θ = (b_u, p_u): bias and vector.

    min Σ |θ_new - a - A θ_old|² + κ |A|² over the users with a rating in both, in closed form. A user with a rating in
    the target keeps the own θ_new; a user whom only a source knows gets the mapped one; of anybody else nothing is
    known, and θ is 0.

    Args:
        rank, ridge, bias_ridge, sweeps: of the factors of both shops; see `BiasedFactors`.
        map_ridge: κ, above 0.

    Reference:
        Man et al. 2017, IJCAI (EMCDR), section 4, with the linear map; the bias as part of the vector and the ridge are
        ours.
    """

    def __init__(
        self, rank: int = 8, ridge: float = 10.0, bias_ridge: float = 5.0, map_ridge: float = 10.0, sweeps: int = 15
    ):
        if not map_ridge > 0:
            raise ValueError(f"map_ridge: got {map_ridge}, wants a number above 0")
        self.factors = {"rank": rank, "ridge": ridge, "bias_ridge": bias_ridge, "sweeps": sweeps}
        self.map_ridge = map_ridge

    def learn(self, training: Training, seed: int) -> None:
        if not training.sources:
            raise ValueError(f"{training.target.name}: no source to bridge from")
        whole = training.sources[0]
        for log in training.sources[1:]:
            whole = whole.joined(log)
        new = BiasedFactors(**self.factors).fit(Training(training.target), seed=seed)
        old = BiasedFactors(**self.factors).fit(Training(replace(whole, time=None)), seed=seed)
        here, there = (np.isin(np.arange(whole.users), log.user) for log in (training.target, whole))
        both = here & there
        if not both.any():
            raise ValueError(f"{training.target.name}: no user has a rating in both shops; there is nothing to map by")
        self.bridge = affine_map(old.users[both], new.users[both], self.map_ridge)
        self.users, self.items = new.users.copy(), new.items
        only_there = there & ~here
        self.users[only_there] = mapped(self.bridge, old.users[only_there])

    def raw(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        return self.mean + products(self.users[user], self.items[item])


def affine_map(old: np.ndarray, new: np.ndarray, ridge: float) -> np.ndarray:
    """Return (1 + k, m), the first row a, the others Aᵀ: min Σ |new - a - A old|² + ridge |A|².

    Args:
        old, new: (n, k) and (n, m), a row per user.
        ridge: above 0.
    """
    centre, aim = old.mean(axis=0), new.mean(axis=0)
    x = old - centre
    slope = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ (new - aim))
    return np.vstack([aim - centre @ slope, slope])


def mapped(bridge: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Return a + A old for rows (n, k), by the map of `affine_map`."""
    return bridge[0] + old @ bridge[1:]
