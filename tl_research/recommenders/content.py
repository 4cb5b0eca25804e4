"""What a user has bought, as attributes, against what an item is: new items are scored as old ones are."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from tl_research.interactions.training import Training
from tl_research.recommenders.base import Recommender, sums

#: Similarities that are held at once.
BLOCK = 16_000_000


class ContentRidge(Recommender):
    """score(u, i) = a_i · w_u, w_u the ridge regression of what u has bought on the items' attributes.

    w_u = argmin Σ_i (x_ui - b - a_i·w)² + λ |w|² = (AᵀA + λ I)⁻¹ Σ_{j bought by u} a_j, over the items i that somebody
    has bought, a_i centred over them; λ = `ridge` times their number. Beside the user's own purchases count those of
    the mean user, `common` times: w_u + common · w̄. Items without attributes are mean items.

    Args:
        ridge: above 0; as it grows, w_u becomes the sum of the attributes of what was bought.
        common: weight of the mean user, 0 or more.
        use_sources: whether interactions of the other domains count.

    Raises:
        ValueError: in `fit`, the training has no attributes.

    Reference:
        ours: one regression per user with all users' normal equations solved at once; content-based profiles as in
        Pazzani & Billsus 2007, The Adaptive Web, chapter 10.
    """

    def __init__(self, ridge: float = 1.0, common: float = 0.0, use_sources: bool = False):
        super().__init__()
        if not (ridge > 0 and common >= 0):
            raise ValueError(f"ridge: got {ridge}, common {common}; wants a number above 0, and one of 0 or more")
        self.ridge, self.common, self.use_sources = ridge, common, use_sources

    def learn(self, training: Training, seed: int) -> None:
        self.bought = training.both if self.use_sources else training.own
        self.attributes, learns = centred(training, self.bought)
        known = self.attributes[learns].astype(np.float64)
        normal = known.T @ known + self.ridge * len(learns) * np.eye(known.shape[1])
        # a_i enters a score through a_i (AᵀA + λ I)⁻¹ alone.
        self.wanted = np.linalg.solve(normal, self.attributes[self.catalogue].T).astype(np.float32)
        count = np.count_nonzero(np.diff(self.bought.indptr))
        self.mean = (sums(self.bought, 0) @ self.attributes / max(1, count)).astype(np.float32)

    def score(self, users: np.ndarray) -> np.ndarray:
        return (self.bought[users] @ self.attributes + self.common * self.mean) @ self.wanted


class ContentKNN(Recommender):
    """score(u, ·) = Σ_{j bought by u} S_j·, S_ji = max(0, cos(a_j, a_i)), the `neighbours` largest per j.

    Attributes are centred over the items that somebody has bought. Items without attributes have no neighbours.

    Args:
        neighbours: kept per item.
        use_sources: whether interactions of the other domains count.

    Raises:
        ValueError: in `fit`, the training has no attributes.

    Reference:
        as Sarwar et al. 2001, WWW, with the cosine of attributes in place of that of buyers.
    """

    def __init__(self, neighbours: int = 50, use_sources: bool = False):
        super().__init__()
        if neighbours < 1:
            raise ValueError(f"neighbours: got {neighbours}, wants 1 or more")
        self.neighbours, self.use_sources = neighbours, use_sources

    def learn(self, training: Training, seed: int) -> None:
        self.bought = training.both if self.use_sources else training.own
        attributes, learns = centred(training, self.bought)
        length = np.linalg.norm(attributes, axis=1, keepdims=True)
        unit = np.divide(attributes, length, out=np.zeros_like(attributes), where=length > 0)
        offered, kept = unit[self.catalogue].T, min(self.neighbours, len(self.catalogue))
        rows, columns, values = [], [], []
        step = max(1, BLOCK // max(1, len(self.catalogue)))
        for start in range(0, len(learns), step):
            items = learns[start : start + step]
            alike = unit[items] @ offered
            alike[items[:, None] == self.catalogue] = 0
            nearest = np.argpartition(-alike, kept - 1, axis=1)[:, :kept]
            rows.append(np.repeat(items, kept))
            columns.append(nearest.ravel())
            values.append(np.maximum(np.take_along_axis(alike, nearest, axis=1), 0).ravel())
        shape = self.bought.shape[1], len(self.catalogue)
        at = np.concatenate(rows), np.concatenate(columns)
        self.similarity = sp.csr_matrix((np.concatenate(values), at), shape=shape)
        self.similarity.eliminate_zeros()

    def score(self, users: np.ndarray) -> np.ndarray:
        return (self.bought[users] @ self.similarity).toarray()


def centred(training: Training, bought: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Return the attributes (items, d) minus their mean over the items bought that have some, and these items' codes.

    Items without attributes have rows of 0.

    Args:
        training: with attributes.
        bought: (users, items) of ones.

    Raises:
        ValueError: there are no attributes, or none of an item bought.
    """
    content = training.content
    if content is None:
        raise ValueError("the training has no attributes of items")
    described = np.unique(training.attributes.item)
    learns = described[sums(bought, 0)[described] > 0]
    if not len(learns):
        raise ValueError(f"{training.attributes.origin}: no item bought in the new shop has a row")
    found = np.zeros_like(content)
    found[described] = content[described] - content[learns].mean(0)
    return found, learns
