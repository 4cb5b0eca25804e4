"""Boosting for numbers that unlearns the source rows which contradict the labelled target rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tl_research.heads.base import Head
from tl_research.heads.tradaboost import TrAdaBoostR2
from tl_research.heads.voting import HeadRegressor, WeightedMedian
from tl_research.methods.instance.tradaboost import RoundsConfig, TrAdaBoostMethod
from tl_research.registry import register_method


@dataclass
class TrAdaBoostR2Config(RoundsConfig):
    """Options of `tradaboost_r2`: those of boosting by rounds, with bases that predict numbers."""

    bases: ClassVar[tuple[str, ...]] = ("boosting", "ridge")
    predicts: ClassVar[str] = "regression"

    name: str = "tradaboost_r2"
    base: str = "boosting"  # what each round fits
    iterations: int = 50  # base=boosting: trees per round


@register_method(
    "tradaboost_r2",
    config=TrAdaBoostR2Config,
    family="instance",
    settings=("few_shot", "supervised"),
    paper="Pardoe & Stone 2010, ICML, section 4.1",
    gain=0.01,
    encoder="identity",
    problem=("data.task=regression",),
    targets=("regression",),
)
class TrAdaBoostR2Method(TrAdaBoostMethod):
    """TrAdaBoost.R2: source rows that err lose weight from round to round, labelled target rows that err gain it.

    The rounds are those of `tl_research.heads.tradaboost.TrAdaBoostR2`; here the base learner is a head, kept as
    tensors. With `method.weighting` the source rows begin with those weights. The two-stage version of the same paper,
    which first fits the source's share, is not here.
    """

    def _joined(self) -> Head:
        return WeightedMedian(self.config.make_base)

    def _rounds(self, present: Tensor, device: torch.device):
        base = HeadRegressor(self.config.make_base, 1, self.seed, device)
        return TrAdaBoostR2(base, self.config.rounds, self.config.first_weights, self.config.at_chance)

    def _take(self, heads: list[Head], voice: Tensor, present: Tensor) -> None:
        self.head.take(heads, voice)
