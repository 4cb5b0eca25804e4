"""One resample: what is learnt from its training rows, and how it does on its test rows."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from tl_research.alignment.base import Rows
from tl_research.answer.rows import as_trained
from tl_research.metrics.requested import find_metric
from tl_research.metrics.requested import measured as requested
from tl_research.outcomes import Outcome
from tl_research.portfolio.head import PortfolioConfig
from tl_research.portfolio.learners import make_learner
from tl_research.portfolio.study import SourceLearners, study

#: The answers, and how `Study` calls them: the old data where they help on unseen rows, never, in any case.
WITH, WITHOUT, ALWAYS = "with old data", "new data only", "old data in any case"
ANSWERS = {WITH: "gate", WITHOUT: "never", ALWAYS: "always"}


@dataclass(frozen=True)
class Question:
    """What every resample is measured with.

    Fields:
        config: of the portfolio.
        source: (n, d) rows of the old files, labels as training has them.
        x, label: (m, d) and (m,) labelled target rows, labels as the data have them.
        outcome: what is predicted.
        learners: of the source alone, fitted once.
        part: (m,) part of each row, for the interval; see `metrics.left_out`.
        metric: that is compared.
        asked: names of metrics on request that are measured beside those of every run.
        prior: class shares that probabilities are corrected to, as `method.prior` has them; none: as they are.
        balanced: whether labels are shown per class; then probabilities are corrected to the shares of the rows that
            the labels are drawn from.
        group: (m,) group of each row, for metrics within groups.
        seed: of the studies.
    """

    config: PortfolioConfig
    source: Rows
    x: Tensor
    label: Tensor
    outcome: Outcome
    learners: SourceLearners
    part: np.ndarray
    metric: str
    asked: tuple[str, ...]
    prior: tuple[str, ...]
    balanced: bool
    group: np.ndarray
    seed: int

    @property
    def labelled(self) -> Rows:
        """All labelled target rows, labels as training has them."""
        return Rows(self.x, as_trained(self.outcome, self.label))

    def figures(self, outputs: Tensor, test: np.ndarray) -> dict[str, float]:
        """Return every metric of outputs for test rows (places)."""
        label = self.label[test]
        found = self.outcome.metrics(outputs, label)
        if self.asked:
            own = [find_metric(name, classes=self.outcome.names) for name in self.asked]
            found |= requested(own, self.outcome.rows_of(outputs, label, self.group[test]))
        return found

    def prior_of(self, test: np.ndarray) -> list[str]:
        """Return the class shares that probabilities are corrected to; empty: they stay as they are.

        Of balanced labels they are the shares of all rows but the test's.
        """
        if not self.balanced or len(self.outcome.names) < 2:
            return list(self.prior)
        rest = np.setdiff1d(np.arange(len(self.label)), test)
        counts = np.bincount(self.label[rest].numpy(), minlength=len(self.outcome.names))
        return [f"{share:.9f}" for share in (counts + 1) / (counts + 1).sum()]


@dataclass(frozen=True)
class Item:
    """One resample at one number of labels.

    Fields:
        number: of the resample.
        size: number of labels that were asked for, None: all.
        train, test: places among the labelled target rows.
        pool: labelled rows on the training side, of which `train` are shown.
    """

    number: int
    size: int | None
    train: np.ndarray
    test: np.ndarray
    pool: int


@dataclass(frozen=True)
class Measured:
    """What is kept of a resample, of numbers and texts only.

    Fields:
        number, size, pool: of the item.
        train, test: numbers of rows.
        opened: whether the gate let the old data in.
        figures: row of the table -> metric -> value on the test rows; a metric without a value there is absent.
        left_out: row of the table -> the compared metric without each part of the test rows, None where it has none.
        unlabelled: the same as `figures`, of the source's learners alone, which have seen no target label.
        losses: part -> its loss on unseen training rows, by which the table is ranked.
        reads_source: part -> whether it learns from the old files.
        places: of the test rows among the labelled target rows.
        outputs: answer, with the old data and without -> (test, outputs) what it says of them.
        seconds: that it took.
    """

    number: int
    size: int | None
    pool: int
    train: int
    test: int
    opened: bool
    figures: dict[str, dict[str, float]]
    left_out: dict[str, list[float | None]]
    unlabelled: dict[str, dict[str, float]]
    losses: dict[str, float]
    reads_source: dict[str, bool]
    places: list[int]
    outputs: dict[str, list[list[float]]]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold; `Measured(**...)` makes it again."""
        return asdict(self)


#: The learner that takes least, and its name in a sentence.
FIRST = "linear"


class First(NamedTuple):
    """The compared metric on one resample of a linear model of the old data alone, and of one of the new labels alone.

    None where it has no value there.
    """

    old: float | None
    new: float | None


def first_figures(question: Question, item: Item, learner: nn.Module) -> First:
    """Measure what can be told before the other learners are fitted.

    Args:
        question: its learners are not asked.
        item: whose training rows the new labels are, and on whose test rows both are measured.
        learner: `FIRST`, fitted to the source.
    """
    outcome = question.outcome
    own = make_learner(FIRST, outcome.kind, len(item.train))
    shown = as_trained(outcome, question.label[item.train])
    own.fit(question.x[item.train], shown, None, classes=outcome.width, seed=question.seed + item.number)
    x = question.x[item.test]
    return First(*(question.figures(each(x), item.test).get(question.metric) for each in (learner, own)))


def measure(question: Question, item: Item) -> Measured:
    """Learn from the item's training rows, and measure every row of the table on its test rows."""
    begun = time.monotonic()
    outcome, seed = question.outcome, question.seed + item.number
    shown = Rows(question.x[item.train], as_trained(outcome, question.label[item.train]))
    sides = question.source, shown, question.learners
    found = study(question.config, outcome.kind, *sides, classes=outcome.width, seed=seed)
    if prior := question.prior_of(item.test):
        found.correct_prior(prior, question.x[item.test], names=outcome.names)
    x, label = question.x[item.test], question.label[item.test]
    outputs = {row: found.combined(mode, x) for row, mode in ANSWERS.items()}
    part = question.part[item.test]
    outputs |= {name: found.outputs(name, x) for name in found.names}
    return Measured(
        number=item.number,
        size=item.size,
        pool=item.pool,
        train=len(item.train),
        test=len(item.test),
        opened=bool(found.uses_old_data("gate")),
        figures={row: question.figures(each, item.test) for row, each in outputs.items()},
        left_out={row: outcome.left_out(question.metric, each, label, part) for row, each in outputs.items()},
        unlabelled={name: question.figures(each, item.test) for name, each in question.learners.scores(x).items()},
        losses=dict(found.facts.get("losses", {})),
        reads_source={name: found.reads_source(name) for name in found.names},
        places=item.test.tolist(),
        outputs={
            answer: [[round(value, 6) for value in row] for row in outputs[answer].tolist()]
            for answer in (WITH, WITHOUT)
        },
        seconds=time.monotonic() - begun,
    )
