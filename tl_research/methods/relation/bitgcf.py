"""Two graph convolutions, of the sources and of the target, that exchange the vectors of shared users and items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tl_research.config import at_least, share
from tl_research.interactions.training import Training
from tl_research.methods.per_domain import PerDomain, stacked
from tl_research.methods.recommending import RankingConfig, Tables
from tl_research.methods.relation.lightgcn import normalised
from tl_research.nn.fitted import Fitted
from tl_research.nn.sparse import SparseMatrix
from tl_research.registry import register_method


@dataclass
class BiTGCFConfig(RankingConfig):
    """Group `method` of `bitgcf`."""

    name: str = "bitgcf"
    layers: int = at_least(0, default=3)
    keep: float = share(default=0.8)  # λ: what a domain keeps of its own vector


class Taken(Fitted):
    """What a domain takes of the other's vectors: shares (U, 1) of `users` and (I, 1) of `items`."""

    users: Tensor
    items: Tensor

    def learn(self, own: Tables, other: Tables, keep: float) -> None:
        """Keep 1 - (λ + n / (n + m)) / 2 for n purchases here and m > 0 in the other domain, 0 where m = 0.

        Args:
            own, other: numbers of purchases (U,) and (I,), in this domain and in the other.
            keep: λ.
        """
        names = Tables._fields
        self.keep(**{name: taken(n, m, keep) for name, n, m in zip(names, own, other, strict=True)})


def taken(own: Tensor, other: Tensor, keep: float) -> Tensor:
    """Return the shares (n, 1) that `Taken` keeps, in float32."""
    of_own = own / (own + other).clamp_min(1)
    return torch.where(other > 0, 1 - (keep + of_own) / 2, 0.0).float()[:, None]


@register_method(
    "bitgcf",
    config=BiTGCFConfig,
    family="relation",
    settings=("supervised",),
    targets=("preference",),
    encoder="embedding",
    paper="Liu et al. 2020, CIKM, section 3.2, with the propagation of He et al. 2020, SIGIR, equation 3",
    no_gain="held against bpr_mf on planted shops (tests/methods/test_joint_recommenders.py)",
)
class BiTGCF(PerDomain):
    """Two LightGCNs that exchange vectors after each layer, and are averaged over the layers 0 to K.

    e_T ← (λ e_T + (1-λ) e_S) / 2 + (n_T e_T + n_S e_S) / (2 (n_T + n_S)), and vice versa; n_T and n_S are the purchases
    of the user (of the item) in the target and in the sources. A domain takes vectors only where the other has a
    purchase. Ours: items that both have exchange vectors too, and a user whom the sources alone know gets vectors of
    the target, so that he can be recommended something there.
    """

    def build(self) -> None:
        super().build()
        self.source_graph, self.target_graph = SparseMatrix(), SparseMatrix()
        self.source_takes, self.target_takes = Taken(), Taken()

    def learn(self, training: Training) -> None:
        logs = training.other, training.own
        source, target = (Tables(*(torch.from_numpy(_sums(log, axis)) for axis in (1, 0))) for log in logs)
        self.source_graph.learn(normalised(logs[0]))
        self.target_graph.learn(normalised(logs[1]))
        self.source_takes.learn(source, target, self.config.keep)
        self.target_takes.learn(target, source, self.config.keep)
        for part in (self.source_graph, self.target_graph, self.source_takes, self.target_takes):
            part.to(self.device)

    def tables(self) -> Tables:
        source, target = self.both()
        sums = source, target
        for _ in range(self.config.layers):
            source = Tables(self.source_graph(source.items), self.source_graph.transposed(source.users))
            target = Tables(self.target_graph(target.items), self.target_graph.transposed(target.users))
            source, target = (
                _exchanged(source, target, self.source_takes),
                _exchanged(target, source, self.target_takes),
            )
            sums = _added(sums[0], source), _added(sums[1], target)
        return Tables(*(total / (self.config.layers + 1) for total in stacked(*sums)))


def _sums(bought, axis: int) -> np.ndarray:
    return np.asarray(bought.sum(axis=axis), dtype=np.float64).ravel()


def _exchanged(own: Tables, other: Tables, takes: Taken) -> Tables:
    return Tables(torch.lerp(own.users, other.users, takes.users), torch.lerp(own.items, other.items, takes.items))


def _added(one: Tables, other: Tables) -> Tables:
    return Tables(one.users + other.users, one.items + other.items)
