"""Boosting that unlearns the source rows which contradict the labelled target rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tl_research.alignment.base import Alignment
from tl_research.alignment.none import NoAlignment
from tl_research.config import MethodConfig, check, check_choice
from tl_research.data.batch import Samples
from tl_research.errors import DataError
from tl_research.heads.base import Head
from tl_research.heads.boosting import Boosting
from tl_research.heads.build import make_head
from tl_research.heads.tradaboost import AT_CHANCE, FIRST_WEIGHTS, TrAdaBoost
from tl_research.heads.tree import Tree
from tl_research.heads.voting import HeadEstimator, MeanProbability
from tl_research.methods.closed_form import ClosedForm
from tl_research.registry import register_method
from tl_research.weighting.base import effective_sample_size


@dataclass
class RoundsConfig(MethodConfig):
    """What boosting for classes and for numbers have in common."""

    bases: ClassVar[tuple[str, ...]] = ()

    base: str = ""  # what each round fits
    rounds: int = 20
    first_weights: str = "rows"  # 1 for every row; or domains: 1 over the number of rows of its side
    at_chance: str = "raise_target"  # after a round no better than chance on the target; or stop
    penalty: float = 1.0  # of the base, as of a head; boosting: l2 on leaf values
    iterations: int = 20  # base=boosting: trees a round
    lr: float = 0.1  # base=boosting
    leaves: int = 8  # base=boosting
    min_rows: int = 5  # base=boosting: fewest rows a leaf

    def __post_init__(self):
        check_choice("method.base", self.base, self.bases)
        check(self.rounds >= 1, "method.rounds", self.rounds, "at least 1")
        check_choice("method.first_weights", self.first_weights, FIRST_WEIGHTS)
        check_choice("method.at_chance", self.at_chance, AT_CHANCE)
        check(self.penalty > 0, "method.penalty", self.penalty, "a number above 0")
        self.make_base()  # refuses what is out of range

    def make_base(self) -> Head:
        """Return an unfitted base learner."""
        raise NotImplementedError

    def boosting_options(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in ("iterations", "lr", "leaves", "min_rows", "penalty")}


@dataclass
class TrAdaBoostConfig(RoundsConfig):
    bases: ClassVar[tuple[str, ...]] = ("tree", "logistic", "ridge", "linear_svm", "boosting")

    name: str = "tradaboost"
    base: str = "tree"  # what each round fits; with logistic 10 rounds do better than 20
    depth: int = 3  # base=tree
    smoothing: float = 20.0  # base=tree: rows of the classes' shares that each leaf is given

    def make_base(self) -> Head:
        """Return an unfitted base learner."""
        if self.base == "tree":
            return Tree(depth=self.depth, smoothing=self.smoothing)
        if self.base == "boosting":
            return Boosting(**self.boosting_options())
        return make_head(self.base, neighbours=1, penalty=self.penalty)


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

    The rounds, their weights and their voices are those of `tl_research.heads.tradaboost.TrAdaBoost`, which says
    what is the paper's and what extends it; here the base learner is a head, kept as tensors, and its softmax is the
    probability (`ridge` and `linear_svm` have margins only, of which it is the softmax too). Of equal probabilities the
    first class counts. With `method.weighting` the source rows begin with those weights. It is for sources of which a
    part is wrong and for labels that are not few; elsewhere `union`, `boosting_transfer` and `warm_start_logistic` are
    the ones to beat.
    """

    trains = False

    def make_alignment(self) -> Alignment:
        return NoAlignment()

    def build(self) -> None:
        self.alignment = self.make_alignment()
        self.head = self._joined()

    def _fit(self, source: Samples, target: Samples, target_labeled: Samples | None) -> None:
        if target_labeled is None or target_labeled.size == 0:
            raise DataError(f"{self.config.name}: there is no target row with a label")
        device = source.label.device
        x, z = (self.encoder(side.inputs).detach().cpu().numpy() for side in (source, target_labeled))
        y, u = (side.label.cpu().numpy() for side in (source, target_labeled))
        present = torch.unique(torch.cat([source.label, target_labeled.label]))
        weight = None if self.row_weights is None else self.row_weights.source.cpu().numpy()
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
