"""The parts of a portfolio: ways to use the old data, each with one learner."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from tl_research.alignment.base import Rows
from tl_research.heads.boosting import TransferBoosting
from tl_research.heads.regression import TransferBoostingRegression
from tl_research.heads.warm_start import WarmStartLogistic
from tl_research.portfolio.draws import drawn
from tl_research.portfolio.learners import FEW_ROWS
from tl_research.portfolio.moved import Moved
from tl_research.portfolio.part import Make, Part, Scores, score_columns

#: Of wider rows boosters are left out: their time grows with the columns.
MOST_COLUMNS = 1000
#: By kind of outcome: the booster that goes on, and the linear learners that can be held to the source's.
CONTINUED = {"class": TransferBoosting, "regression": TransferBoostingRegression}
HELD = {"class": ("linear",), "regression": ()}
#: Boosters on both domains read a draw of the source: so many rows per labelled target row, and no fewer than these.
SOURCE_PER_LABEL, FEWEST_SOURCE = 20, 2_000


class SourceAlone(Part):
    """What the learner says that has seen the source alone."""

    reads_target = False

    def build(self, rows: int, quick: bool = False) -> None:
        self.head = None  # it is shared with the parts `scores`

    def wanted_scores(self, learners: tuple[str, ...]) -> tuple[str, ...]:
        return (self.learner,)

    def fit(self, source: Rows, shown: Rows, scores: Tensor, *, classes: int, seed: int, quick: bool = False) -> None:
        pass

    def forward(self, x: Tensor, scores: Scores) -> Tensor:
        return scores[self.learner]


class TargetAlone(Part):
    """The learner on the labelled target rows alone."""

    reads_source = False

    def fit(self, source: Rows, shown: Rows, scores: Tensor, *, classes: int, seed: int, quick: bool = False) -> None:
        self.build(len(shown.x), quick)
        self.head.fit(shown.x, shown.label, None, classes=classes, seed=seed)


class Pooled(Part):
    """The learner on both domains, with a column that tells them apart; each domain has half of the weight."""

    #: Of all weight, that of the target.
    share: ClassVar[float] = 0.5

    def fit(self, source: Rows, shown: Rows, scores: Tensor, *, classes: int, seed: int, quick: bool = False) -> None:
        if self.learner == "boosting":
            source = _read_of(source, shown, seed)
        n, k = len(source.x), len(shown.x)
        self.build(n + k, quick)
        x = torch.cat([_with_column(source.x, 0.0), _with_column(shown.x, 1.0)])
        weight = source.x.new_ones(n, dtype=torch.float64) if source.weight is None else source.weight.double()
        # A total of n + k, so that a penalty counts as it does in the rows' number.
        of_source, of_target = (1 - self.share) * (n + k), self.share * (n + k)
        weight = torch.cat([weight * (of_source / weight.sum()), weight.new_full((k,), of_target / k)])
        self.head.fit(x, torch.cat([source.label, shown.label]), weight, classes=classes, seed=seed)

    def forward(self, x: Tensor, scores: Scores) -> Tensor:
        return self.head(_with_column(x, 1.0))


class LightlyPooled(Pooled):
    """As `Pooled`, but the target has a fifth of the weight."""

    share = 0.2


class OnScores(Part):
    """The learner on the labelled target rows, with what the learners of the source say of them as further columns."""

    def fit(self, source: Rows, shown: Rows, scores: Tensor, *, classes: int, seed: int, quick: bool = False) -> None:
        self.build(len(shown.x), quick)
        self.head.fit(torch.cat([shown.x, scores], dim=1), shown.label, None, classes=classes, seed=seed)

    def wanted_scores(self, learners: tuple[str, ...]) -> tuple[str, ...]:
        return learners

    def forward(self, x: Tensor, scores: Scores) -> Tensor:
        return self.head(torch.cat([x, score_columns(scores, x)], dim=1))


class Continued(Part):
    """A booster of the source, continued on the labelled target rows; see `TransferBoosting`."""

    def build(self, rows: int, quick: bool = False) -> None:
        self.head = CONTINUED[self.kind](min_rows=5 if rows <= FEW_ROWS else 20)

    def fit(self, source: Rows, shown: Rows, scores: Tensor, *, classes: int, seed: int, quick: bool = False) -> None:
        source = _read_of(source, shown, seed)
        self.build(len(source.x) + len(shown.x), quick)
        self.head.fit_transfer(*source, shown.x, shown.label, classes=classes, seed=seed)


class WarmStart(Part):
    """Logistic regression of the target, held to that of the source; see `WarmStartLogistic`."""

    def build(self, rows: int, quick: bool = False) -> None:
        self.head = WarmStartLogistic()

    def fit(self, source: Rows, shown: Rows, scores: Tensor, *, classes: int, seed: int, quick: bool = False) -> None:
        self.head.fit_transfer(*source, shown.x, shown.label, classes=classes, seed=seed)


def _read_of(source: Rows, shown: Rows, seed: int) -> Rows:
    return drawn(source, max(FEWEST_SOURCE, SOURCE_PER_LABEL * len(shown.x)), seed)


def _with_column(x: Tensor, value: float) -> Tensor:
    return torch.cat([x, x.new_full((len(x), 1), value)], dim=1)


def make_parts(make: Make, kind: str, *, old_data: bool, columns: int | None = None) -> dict[str, Part]:
    """Return the unfitted parts of a portfolio by their names.

    Args:
        make: of learners.
        kind: of the outcome, `class` or `regression`.
        old_data: whether the parts that learn from the source are among them.
        columns: of the rows; boosters are left out of wide ones. None: all parts, to load fitted ones into.
    """
    boosted = columns is None or columns <= MOST_COLUMNS
    ways: list[tuple[str, type[Part], tuple[str, ...]]] = [
        ("target", TargetAlone, ("linear", "strict", "forest", "boosting")),
    ]
    if old_data:
        ways += [
            ("source", SourceAlone, ("linear", "forest", "boosting")),
            ("moved", Moved, ("forest", "boosting")),
            ("pooled", Pooled, ("linear", "boosting")),
            ("lightly pooled", LightlyPooled, ("linear",)),
            ("scores", OnScores, ("strict", "forest")),
            ("continued", Continued, ("boosting",)),
            ("held", WarmStart, HELD[kind]),
        ]
    return {
        f"{way} {learner}": part(make, learner, kind)
        for way, part, learners in ways
        for learner in learners
        if boosted or learner != "boosting"
    }


def source_learners(columns: int | None = None) -> tuple[str, ...]:
    """Return the names of the learners that are fitted to the source alone."""
    return ("linear", "forest", "boosting") if columns is None or columns <= MOST_COLUMNS else ("linear", "forest")
