"""Graph convolution without weights of its own: vectors averaged over what users bought."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from torch import Tensor

from tl_research.config import at_least
from tl_research.interactions.training import Training
from tl_research.methods.recommending import Recommending, RecommendingConfig, Tables
from tl_research.nn.sparse import SparseMatrix
from tl_research.registry import register_method


@dataclass
class LightGCNConfig(RecommendingConfig):
    """Group `method` of `lightgcn`."""

    name: str = "lightgcn"
    layers: int = at_least(0, default=3)


def normalised(bought: sp.csr_matrix) -> sp.csr_matrix:
    """Return D_u^-1/2 A D_i^-1/2 of a matrix A (users, items) of ones."""
    of_user, of_item = (np.maximum(np.asarray(bought.sum(axis=axis)).ravel(), 1) ** -0.5 for axis in (1, 0))
    return (sp.diags_array(of_user) @ bought @ sp.diags_array(of_item)).tocsr()


@register_method(
    "lightgcn",
    config=LightGCNConfig,
    family="relation",
    settings=("supervised",),
    targets=("preference",),
    encoder="embedding",
    paper="He et al. 2020, SIGIR, equations 3 to 8",
    no_gain="a trained baseline of recommenders",
)
class LightGCN(Recommending):
    """e^(k+1)_u = Σ_i e^(k)_i / sqrt(|N_u| |N_i|), likewise for items; vectors are the means over the layers 0 to K."""

    def build(self) -> None:
        self.graph = SparseMatrix()

    def learn(self, training: Training) -> None:
        self.graph.learn(normalised(training.both if self.config.use_sources else training.own))
        self.graph.to(self.device)

    def tables(self) -> Tables:
        return propagated(self.graph, *super().tables(), layers=self.config.layers)


def propagated(graph: SparseMatrix, users: Tensor, items: Tensor, *, layers: int) -> Tables:
    """Return the mean of the vectors of layers 0 to `layers`.

    Args:
        graph: the normalised matrix (U, I).
        users, items: (U, d) and (I, d) of layer 0.
        layers: K.
    """
    sums = users, items
    for _ in range(layers):
        users, items = graph(items), graph.transposed(users)
        sums = sums[0] + users, sums[1] + items
    return Tables(*(total / (layers + 1) for total in sums))
