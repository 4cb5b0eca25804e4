"""Boosting that unlearns the source rows which contradict the labelled target rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tl_research.alignment.base import Rows
from tl_research.config import MethodConfig, check, check_choice
from tl_research.errors import DataError, keys_of
from tl_research.heads.base import Head, PenaltyConfig
from tl_research.heads.build import make_head
from tl_research.heads.tradaboost import AT_CHANCE, FIRST_WEIGHTS, TrAdaBoost
from tl_research.heads.tree import Tree, TreeConfig
from tl_research.heads.voting import HeadEstimator, MeanProbability
from tl_research.methods.fitted import FittedMethod
from tl_research.registry import register_method
from tl_research.weighting.base import effective_sample_size


@dataclass
class RoundsConfig(PenaltyConfig, MethodConfig):
    """What boosting for classes and for numbers have in common.

    `penalty` is of the base, as of a head; of base=boosting l2 on leaf values.
    """

    bases: ClassVar[tuple[str, ...]] = ()
    predicts: ClassVar[str] = "class"  # kind of outcome that the bases are heads of

    base: str = ""  # what each round fits
    rounds: int = 20
    first_weights: str = "rows"  # 1 for every row; or domains: 1 over the number of rows of its side
    at_chance: str = "raise_target"  # after a round no better than chance on the target; or stop
    iterations: int = 20  # base=boosting: trees per round
    lr: float = 0.1  # base=boosting
    leaves: int = 8  # base=boosting
    min_rows: int = 5  # base=boosting: fewest rows per leaf

    def __post_init__(self):
        check_choice("method.base", self.base, self.bases)
        check(self.rounds >= 1, "method.rounds", self.rounds, "at least 1")
        check_choice("method.first_weights", self.first_weights, FIRST_WEIGHTS)
        check_choice("method.at_chance", self.at_chance, AT_CHANCE)
        with keys_of("method"):
            super().__post_init__()
            self.make_base()  # refuses what is out of range

    def make_base(self) -> Head:
        """Return an unfitted base learner."""
        return make_head(self.base, of=self.predicts, **vars(self))


@dataclass
class TrAdaBoostConfig(TreeConfig, RoundsConfig):
    """`depth` and `smoothing` are of base=tree."""

    bases: ClassVar[tuple[str, ...]] = ("tree", "logistic", "ridge", "linear_svm", "boosting")

    name: str = "tradaboost"
    base: str = "tree"  # what each round fits; with logistic 10 rounds do better than 20

    def __post_init__(self):
        RoundsConfig.__post_init__(self)
        with keys_of("method"):
            TreeConfig.__post_init__(self)

    def make_base(self) -> Head:
        return Tree(self) if self.base == "tree" else super().make_base()


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
class TrAdaBoostMethod(FittedMethod):
    """TrAdaBoost: source rows that err lose weight from round to round, labelled target rows that err gain it.

    The rounds, their weights and their voices are those of `tl_research.heads.tradaboost.TrAdaBoost`, which says
    what is the paper's and what extends it; here the base learner is a head, kept as tensors, and its softmax is the
    probability (`ridge` and `linear_svm` have margins only, of which it is the softmax too). Of equal probabilities the
    first class counts. With `method.weighting` the source rows begin with those weights. It is for sources of which a
    part is wrong and for labels that are not few; elsewhere `union`, `boosting_transfer` and `warm_start_logistic` are
    the ones to beat.
    """

    def build(self) -> None:
        self.head = self._joined()

    def fit_rows(self, source: Rows, target: Rows, labeled: Rows | None) -> None:
        if labeled is None or len(labeled.x) == 0:
            raise DataError(f"{self.config.name}: there is no target row with a label")
        device = source.label.device
        x, z = (side.x.cpu().numpy() for side in (source, labeled))
        y, u = (side.label.cpu().numpy() for side in (source, labeled))
        present = torch.unique(torch.cat([source.label, labeled.label]))
        weight = None if source.weight is None else source.weight.cpu().numpy()
        model = self._rounds(present, device).fit(x, y, z, u, source_weight=weight)
        heads, voice = model._voters()
        self._take([fitted.head_ for fitted in heads], torch.as_tensor(voice, device=device), present)
        last = torch.as_tensor(model.source_weights_[-1])
        share = float(last.sum())
        self.facts[self.config.name] = {
            "target_error": [float(error) for error in model.errors_],
            "rounds_with_a_voice": int((model.betas_ < 1).sum()),
            "source_share": share,
            "source_effective_share": effective_sample_size(last) / len(last) if share > 0 else 0.0,
        }
        if model.alone_ is not None:
            self.facts["remarks"] = [
                f"{self.config.name}: no round of {len(model.errors_)} was better than chance on the {len(u)} labelled "
                "target rows, so that no source row was used: the model is the base fitted to those target rows alone"
            ]

    def _joined(self) -> Head:
        """Return the unfitted head that hears the rounds."""
        return MeanProbability(self.config.make_base)

    def _rounds(self, present: Tensor, device: torch.device):
        base = HeadEstimator(self.config.make_base, len(present), self.seed, device)
        return TrAdaBoost(base, self.config.rounds, self.config.first_weights, self.config.at_chance)

    def _take(self, heads: list[Head], voice: Tensor, present: Tensor) -> None:
        self.head.take(heads, voice, present, self.classes)
