"""Higher-order moment matching of the features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.config import at_least
from tl_research.losses.moments import homm
from tl_research.methods.discrepancy import DiscrepancyConfig, FeatureDiscrepancy
from tl_research.registry import register_method


@dataclass
class HoMMConfig(DiscrepancyConfig):
    """Options of `homm`: the weight of the distance, the order of the moments, and how many entries are compared."""

    name: str = "homm"
    weight: float = at_least(0, default=10_000.0)
    order: int = at_least(1, default=3)
    entries: int | None = at_least(1, default=None)  # drawn anew in every step, as in the paper; None: all


@register_method(
    "homm",
    config=HoMMConfig,
    family="feature",
    settings=("unsupervised", "few_shot"),
    paper="Chen et al. 2020, AAAI (HoMM)",
    null=0.0,
    null_rows=4096,
    gain=0.02,
)
class HoMM(FeatureDiscrepancy):
    """Align the third moments across features: CE(source) + weight * ||M_S - M_T||² / d³ of tanh f.

    M is the tensor of d³ raw moments, of which all are compared without being made: that takes the time of a kernel
    matrix. The paper draws 300,000 of them per step (`entries`), which takes hundreds of times as long at 128 features.
    tanh is that of the authors' adapted layer: of the features of a relu most products are 0.
    """

    config: HoMMConfig

    def discrepancy(self, source: Tensor, target: Tensor) -> Tensor:
        width, order, entries = source.shape[1], self.config.order, self.config.entries
        places = None
        if entries is not None and width**order > entries:
            places = torch.randint(width, (entries, order), generator=self._generator()).to(source.device)
        return homm(source.tanh(), target.tanh(), order=order, places=places)
