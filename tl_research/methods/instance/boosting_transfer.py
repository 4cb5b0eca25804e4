"""Gradient-boosted trees of the source, continued on the target's labels."""

from __future__ import annotations

from dataclasses import dataclass

from tl_research.alignment.base import Rows
from tl_research.config import MethodConfig
from tl_research.errors import keys_of
from tl_research.heads.boosting import TransferBoosting, TransferBoostingConfig
from tl_research.heads.regression import TransferBoostingRegression
from tl_research.methods.fitted import FittedMethod
from tl_research.registry import register_method

#: By kind of outcome.
BOOSTED = {"class": TransferBoosting, "regression": TransferBoostingRegression}


@dataclass
class BoostingTransferConfig(TransferBoostingConfig, MethodConfig):
    """Options of `boosting_transfer`: those of its two stages of trees."""

    name: str = "boosting_transfer"

    def __post_init__(self):
        with keys_of("method"):
            super().__post_init__()


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
class BoostingTransfer(FittedMethod):
    """Boost trees on the source (weighted, with `method.weighting`), then more trees on the labelled target rows."""

    def build(self) -> None:
        self.head = BOOSTED[self.outcome.kind](self.config)

    def fit_rows(self, source: Rows, target: Rows, labeled: Rows | None) -> None:
        shown = labeled or Rows(source.x[:0], source.label[:0])
        self.head.fit_transfer(*source, shown.x, shown.label, classes=self.classes, seed=self.seed)
        self.facts |= {
            "library": self.config.library,
            "target_rows": len(shown.label),
            "trees": len(self.head._buffers.get("value", ())),
        }
