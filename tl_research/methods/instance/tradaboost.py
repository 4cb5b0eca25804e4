"""Boosting that unlearns the source rows which contradict the labelled target rows."""

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
from tl_research.heads.boosting import Boosting
from tl_research.heads.build import make_head
from tl_research.heads.voting import HeadEstimator, Voting
from tl_research.methods.closed_form import ClosedForm
from tl_research.registry import register_method
from tl_research.weighting.base import effective_sample_size
from tl_research.weighting.tradaboost import TrAdaBoost

BASES = ("logistic", "ridge", "linear_svm", "boosting")


@dataclass
class TrAdaBoostConfig(MethodConfig):
    name: str = "tradaboost"
    base: str = "logistic"  # what each round fits
    rounds: int = 20
    penalty: float = 1.0  # of the base, as of a head; boosting: l2 on leaf values
    iterations: int = 20  # base=boosting: trees a round
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


def base_of(config: TrAdaBoostConfig) -> Head:
    """Return an unfitted base learner."""
    if config.base == "boosting":
        own = ("iterations", "lr", "leaves", "min_rows", "penalty")
        return Boosting(**{name: getattr(config, name) for name in own})
    return make_head(config.base, neighbours=1, penalty=config.penalty)


@register_method(
    "tradaboost",
    config=TrAdaBoostConfig,
    family="instance",
    settings=("few_shot", "supervised"),
    paper="Dai et al. 2007, ICML, algorithm 1",
    gain=0.02,
    targets=("class",),
    encoder="identity",
)
class TrAdaBoostMethod(ClosedForm):
    """TrAdaBoost: source rows that err lose weight from round to round, labelled target rows that err gain it.

    The rounds, their weights and their votes are those of `tl_research.weighting.tradaboost.TrAdaBoost`; here the base
    learner is a head, kept as tensors, and of equal votes the first class counts. With `method.weighting` the source
    rows begin with those weights. With few labelled rows their error is soon 0 and the last rounds hear the target
    alone: it is for sources of which a part is wrong, and `union` or `boosting_transfer` are the ones to beat.
    """

    trains = False

    def make_alignment(self) -> Alignment:
        return NoAlignment()

    def build(self) -> None:
        self.alignment = self.make_alignment()
        self.head = Voting([base_of(self.config) for _ in range(self.config.voters)])

    def _fit(self, source: Samples, target: Samples, target_labeled: Samples | None) -> None:
        if target_labeled is None or target_labeled.size == 0:
            raise DataError("tradaboost: there is no target row with a label")
        device = source.label.device
        rows = [self.encoder(side.inputs) for side in (source, target_labeled)]
        labels = [side.label.cpu().numpy() for side in (source, target_labeled)]
        present = torch.unique(torch.cat([source.label, target_labeled.label]))
        base = HeadEstimator(lambda: base_of(self.config), len(present), self.seed, device)
        x, z = (part.detach().cpu().numpy() for part in rows)
        weight = None if self.row_weights is None else self.row_weights.source.cpu().numpy()
        model = TrAdaBoost(base, self.config.rounds).fit(x, labels[0], z, labels[1], source_weight=weight)
        heads, voice = model._voters()
        self.head.take([fitted.head_ for fitted in heads], torch.as_tensor(voice, device=device), present, self.classes)
        last = torch.as_tensor(model.source_weights_[-1])
        self.facts["tradaboost"] = {
            "target_error": [float(error) for error in model.errors_],
            "source_share": float(last.sum()),
            "source_effective_share": effective_sample_size(last) / len(last),
        }
