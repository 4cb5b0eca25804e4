"""Gradient-boosted trees of the source, continued on the target's labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tl_research.alignment.base import Alignment
from tl_research.alignment.none import NoAlignment
from tl_research.config import MethodConfig, added_later
from tl_research.data.batch import Samples
from tl_research.heads.boosting import TransferBoosting
from tl_research.heads.regression import TransferBoostingRegression
from tl_research.methods.closed_form import ClosedForm
from tl_research.registry import register_method


@dataclass
class BoostingTransferConfig(MethodConfig):
    name: str = "boosting_transfer"
    library: str = added_later("scikit-learn")  # or, of the extra [trees], lightgbm or xgboost
    iterations: int = 100  # rounds on the source
    lr: float = 0.1
    leaves: int = 31
    min_rows: int = 20  # fewest pooled rows a leaf; not of library=xgboost
    min_hessian: float = added_later(1.0)  # library=xgboost: least sum of second derivatives a leaf
    penalty: float = 1.0  # l2 on leaf values
    target_iterations: int = 50
    target_lr: float = 0.05
    target_share: float = 0.3  # of the first stage's weight, on the labelled target rows

    def __post_init__(self):
        booster_of(self)


def booster_of(config: BoostingTransferConfig, kind: type[TransferBoosting] = TransferBoosting) -> TransferBoosting:
    """Return the unfitted booster; it checks the ranges of its options."""
    own = set(BoostingTransferConfig.__dataclass_fields__) - set(MethodConfig.__dataclass_fields__)
    return kind(**{name: getattr(config, name) for name in own})


@register_method(
    "boosting_transfer",
    config=BoostingTransferConfig,
    family="instance",
    settings=("few_shot", "supervised"),
    paper="Friedman 2001, Ann. Stat. 29(5), algorithm 1, begun at the source's scores",
    gain=0.02,
    over=("shallow", "method.head=boosting"),
    encoder="identity",
)
class BoostingTransfer(ClosedForm):
    """Boost trees on the source (weighted, with `method.weighting`), then more trees on the labelled target rows."""

    trains = False

    def make_alignment(self) -> Alignment:
        return NoAlignment()

    def build(self) -> None:
        self.alignment = self.make_alignment()
        self.head = booster_of(self.config, TransferBoostingRegression if self.regression else TransferBoosting)

    def _fit(self, source: Samples, target: Samples, target_labeled: Samples | None) -> None:
        weight = None if self.row_weights is None else self.row_weights.source
        x, label = self.encoder(source.inputs), source.label
        if target_labeled is None:
            labeled = x[:0], torch.empty_like(label[:0])
        else:
            labeled = self.encoder(target_labeled.inputs), target_labeled.label
        self.head.fit_transfer(x, label, weight, *labeled, classes=self.classes, seed=self.seed)
        self.facts |= {
            "library": self.config.library,
            "target_rows": len(labeled[1]),
            "trees": len(self.head._buffers.get("value", ())),
        }
