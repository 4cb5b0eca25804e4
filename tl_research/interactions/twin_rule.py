"""From how many buyers on does a pair of items count as twins? Chance alone, and one domain alone, decide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from tl_research.interactions.twins import FEWEST_BUYERS, LEAST_JACCARD, Twins, twins

#: Numbers of buyers that are tried.
TRIED = (2, 3, 4, 5, 7, 10)
#: Share of the found items that may be found by chance, and that one domain alone may show.
BY_CHANCE, INSIDE = 0.01, 0.10


@dataclass(frozen=True)
class Tried:
    """What one number of buyers finds.

    Fields:
        buyers: fewest buyers of an item.
        items: items of the first domain with so many buyers.
        found: those of them with a twin in the other domain.
        inside: items of the first domain with a "twin" inside it, scaled to as many candidates as the other domain has.
        by_chance: items with a "twin" where the users of the other domain are permuted.
    """

    buyers: int
    items: int
    found: int
    inside: float
    by_chance: int

    @property
    def holds(self) -> bool:
        """Whether what was found stands out from chance and from what one domain alone shows."""
        return self.by_chance <= BY_CHANCE * self.found and self.inside <= INSIDE * self.found


@dataclass(frozen=True)
class TwinRule:
    """The chosen rule and what was tried.

    Fields:
        buyers: the fewest buyers, `FEWEST_BUYERS` or more, that hold; where none do, the largest that was tried.
        jaccard: least share of common buyers.
        tried: one entry per number of buyers.
        holds: whether the chosen rule holds.
    """

    buyers: int
    jaccard: float
    tried: tuple[Tried, ...]
    holds: bool


def calibrate(
    first: sp.csr_matrix, second: sp.csr_matrix, *, jaccard: float = LEAST_JACCARD, seed: int = 0
) -> tuple[TwinRule, Twins]:
    """Choose the fewest buyers at which twins are told from chance, and return the rule with the twins it finds.

    Two nulls: pairs after a random permutation of the second domain's users, which breaks every tie between the domains
    and keeps the numbers of buyers (at most `BY_CHANCE` of what is found); and pairs inside the first domain, which may
    list a product twice too, as bundles and colours (at most `INSIDE`). Numbers of buyers below `FEWEST_BUYERS` are
    shown, and not chosen.

    Args:
        first, second: (items, users) of ones, from `buyers_of`.
        jaccard: least share of common buyers.
        seed: of the permutation.
    """
    permuted = second[:, np.random.default_rng(seed).permutation(second.shape[1])]
    least = min(TRIED)
    across = twins(first, second, jaccard=jaccard, buyers=least)
    inside = twins(first, first, jaccard=jaccard, buyers=least, same_domain=True)
    chance = twins(first, permuted, jaccard=jaccard, buyers=least)
    sizes = np.diff(first.indptr), np.diff(second.indptr)
    tried = []
    for buyers in TRIED:
        candidates = [int((size >= buyers).sum()) for size in sizes]
        of_one = _pairs(inside, sizes[0], sizes[0], buyers)
        scale = candidates[1] / max(1, candidates[0] - 1)
        tried.append(
            Tried(
                buyers,
                candidates[0],
                len(np.unique(_pairs(across, *sizes, buyers)[0])),
                len(np.unique(np.concatenate(of_one))) * scale,
                len(np.unique(_pairs(chance, sizes[0], np.diff(permuted.indptr), buyers)[0])),
            )
        )
    fit = [each for each in tried if each.buyers >= FEWEST_BUYERS and each.holds]
    buyers = fit[0].buyers if fit else max(TRIED)
    rule = TwinRule(buyers, jaccard, tuple(tried), bool(fit))
    kept = (sizes[0][across.first] >= buyers) & (sizes[1][across.second] >= buyers)
    found = Twins(*(column[kept] for column in (across.first, across.second, across.shared, across.jaccard)))
    return rule, found


def _pairs(found: Twins, first: np.ndarray, second: np.ndarray, buyers: int) -> tuple[np.ndarray, np.ndarray]:
    kept = (first[found.first] >= buyers) & (second[found.second] >= buyers)
    return found.first[kept], found.second[kept]
