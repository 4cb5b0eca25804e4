"""Boosting for numbers that unlearns the source rows which contradict the labelled target rows."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import torch

from tl_research.alignment.base import Alignment
from tl_research.alignment.none import NoAlignment
from tl_research.config import MethodConfig, check, check_choice
from tl_research.data.batch import Samples
from tl_research.errors import DataError
from tl_research.heads.base import Head
from tl_research.heads.regression import BoostingRegression, RidgeRegression
from tl_research.heads.voting import HeadRegressor, WeightedMedian
from tl_research.methods.closed_form import ClosedForm
from tl_research.registry import register_method
from tl_research.weighting.base import effective_sample_size
from tl_research.weighting.tradaboost import TrAdaBoostR2

BASES = ("boosting", "ridge")


@dataclass
class TrAdaBoostR2Config(MethodConfig):
    name: str = "tradaboost_r2"
    base: str = "boosting"  # what each round fits
    rounds: int = 20
    penalty: float = 1.0  # of ridge's squared weights; boosting: l2 on leaf values
    iterations: int = 50  # base=boosting: trees a round
    lr: float = 0.1  # base=boosting
    leaves: int = 8  # base=boosting
    min_rows: int = 5  # base=boosting: fewest rows a leaf

    def __post_init__(self):
        check_choice("method.base", self.base, BASES)
        check(self.rounds >= 1, "method.rounds", self.rounds, "at least 1")
        check(self.penalty > 0, "method.penalty", self.penalty, "a number above 0")
        base_of(self)  # refuses what is out of range

    @property
    def voters(self) -> int:
        """Rounds ceil(N/2) .. N."""
        return self.rounds - ceil(self.rounds / 2) + 1


def base_of(config: TrAdaBoostR2Config) -> Head:
    """Return an unfitted base learner."""
    if config.base == "ridge":
        return RidgeRegression(config.penalty)
    own = ("iterations", "lr", "leaves", "min_rows", "penalty")
    return BoostingRegression(**{name: getattr(config, name) for name in own})


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
class TrAdaBoostR2Method(ClosedForm):
    """TrAdaBoost.R2: source rows that err lose weight from round to round, labelled target rows that err gain it.

    The rounds are those of `tl_research.weighting.tradaboost.TrAdaBoostR2`; here the base learner is a head, kept as
    tensors. With `method.weighting` the source rows begin with those weights.
    """

    trains = False

    def make_alignment(self) -> Alignment:
        return NoAlignment()

    def build(self) -> None:
        self.alignment = self.make_alignment()
        self.head = WeightedMedian([base_of(self.config) for _ in range(self.config.voters)])

    def _fit(self, source: Samples, target: Samples, target_labeled: Samples | None) -> None:
        if target_labeled is None or target_labeled.size == 0:
            raise DataError("tradaboost_r2: there is no target row with a label")
        device = source.label.device
        x, z = (self.encoder(side.inputs).detach().cpu().numpy() for side in (source, target_labeled))
        y, u = (side.label.cpu().numpy() for side in (source, target_labeled))
        base = HeadRegressor(lambda: base_of(self.config), 1, self.seed, device)
        weight = None if self.row_weights is None else self.row_weights.source.cpu().numpy()
        model = TrAdaBoostR2(base, self.config.rounds).fit(x, y, z, u, source_weight=weight)
        heads, voice = model._voters()
        self.head.take([fitted.head_ for fitted in heads], torch.as_tensor(voice, device=device))
        last = torch.as_tensor(model.source_weights_[-1])
        self.facts["tradaboost_r2"] = {
            "target_error": [float(error) for error in model.errors_],
            "source_share": float(last.sum()),
            "source_effective_share": effective_sample_size(last) / len(last),
        }
