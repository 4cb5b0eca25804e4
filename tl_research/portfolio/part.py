"""What a part of a portfolio is: one way to use the old data, with one learner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from tl_research.alignment.base import Rows
from tl_research.heads.base import Head


class Scores(dict[str, Tensor]):
    """What each learner of the source says of rows, (n, classes) or (n, 1); `learners` are asked of other rows."""

    def __init__(self, learners: Mapping[str, nn.Module], said: Mapping[str, Tensor]):
        super().__init__(said)
        self.learners = learners

    @classmethod
    def of(cls, learners: Mapping[str, nn.Module], x: Tensor) -> Scores:
        """Ask the learners of rows (n, d)."""
        return cls(learners, {name: learner(x) for name, learner in learners.items()})

    def rows(self, places: Tensor) -> Scores:
        """Return what they say of some of the rows."""
        return Scores(self.learners, {name: said[places] for name, said in self.items()})


class Make(Protocol):
    """Returns an unfitted learner of a name for a number of rows; a quick one is only to say something of a fold."""

    def __call__(self, name: str, rows: int, quick: bool = False) -> Head: ...


class Part(nn.Module):
    """One way to use the old data, with one learner.

    Args:
        make: of learners.
        learner: its name.
        kind: of the outcome, `class` or `regression`.
    """

    #: Whether it learns from the source.
    reads_source: ClassVar[bool] = True
    #: Whether it learns from the labelled target rows.
    reads_target: ClassVar[bool] = True

    def __init__(self, make: Make, learner: str, kind: str):
        super().__init__()
        self.make, self.learner, self.kind = make, learner, kind
        self.head: nn.Module | None = None
        self.build(1)

    def build(self, rows: int, quick: bool = False) -> None:
        """Make the unfitted head for a number of rows."""
        self.head = self.make(self.learner, rows, quick)

    def fit(self, source: Rows, shown: Rows, scores: Tensor, *, classes: int, seed: int, quick: bool = False) -> None:
        """Fit.

        Args:
            source: (n, d) rows of the old domains with labels.
            shown: (k, d) labelled target rows.
            scores: (k, s) what the learners of the source say of the shown rows.
            classes: number of classes.
            seed: of the learner.
            quick: whether it is only to say something of a fold.
        """
        raise NotImplementedError

    def forward(self, x: Tensor, scores: Scores) -> Tensor:
        """Return outputs (n, classes) or (n, 1) for target rows (n, d).

        Args:
            x: rows.
            scores: what the learners of the source say of them.
        """
        return self.head(x)

    def wanted_scores(self, learners: tuple[str, ...]) -> tuple[str, ...]:
        """Return the learners of the source that `forward` reads, of those that there are."""
        return ()


def score_columns(scores: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Return the columns (n, s) that the parts `scores` have of the source's outputs for rows `x` (n, d).

    Of two classes the log odds of the second, of more the log probabilities, of numbers the numbers themselves; all
    between -10 and 10.
    """
    columns = [x[:, :0]]
    for said in scores.values():
        if said.shape[1] > 1:
            said = said.log_softmax(dim=1)
        columns.append(said[:, 1:] - said[:, :1] if said.shape[1] == 2 else said)
    return torch.cat(columns, dim=1).clamp(-10, 10)
