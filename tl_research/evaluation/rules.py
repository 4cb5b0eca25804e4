"""`@register_rule`: a selection rule is a function, and beside it what it may read. Those that read figures are here.

What depends on labels of the target can be seen in `reads`; a rule's function is given nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tl_research.metrics.registered import higher_is_better
from tl_research.registry import RULES

Row = Mapping[str, float | bool | None]
#: What a rule may read of a part beside its figures; `evaluation.measure` provides it.
OF_MODEL = ("features", "outputs", "losses", "labels", "density_ratio", "mixed_outputs")
#: Parts that are no evaluation split: the rows that train, without labels.
TRAINING = ("source", "target")


@dataclass(frozen=True)
class Rule:
    """How an epoch is chosen: the one with the highest score.

    Of equals it is the one with the lowest figure `tie`, and of those the earliest. (On the few labels of a small
    validation split most epochs are equal.)

    Fields:
        name: as in `selection.rule`.
        function: the values of `reads`, in that order -> score, higher is better; None where there is none.
        reads: either figures of an epoch (`epoch`, `source_val/ece`; `{metric}` stands for the metric that rules read,
            negated where lower is better), or what a model makes of rows: `<part>/features`, `<part>/outputs`,
            `<split>/losses`, `<split>/labels`, `<split>/density_ratio`, `target/mixed_outputs` (of mixtures of two
            rows), with a split or one of `TRAINING` as the part.
        of: kinds of outcome that it can score; None for all.
        tie: figure, lower is better, that it reads among equals; epochs without it count as 0.
        offline: an epoch is scored by it only in runs that choose by it; of others, from saved outputs.
    """

    name: str
    function: Callable[..., float | None]
    reads: tuple[str, ...]
    of: tuple[str, ...] | None = None
    tie: str | None = None
    offline: bool = False

    @property
    def reads_model(self) -> bool:
        """Whether the score is made where the model is measured, and then kept in the history under the rule's name."""
        return any(read.partition("/")[2] in OF_MODEL for read in self.reads)

    @property
    def reads_metric(self) -> bool:
        """Whether the score is a value of the run's metric."""
        return any("{metric}" in read for read in self.reads)

    @property
    def splits(self) -> tuple[str, ...]:
        """Evaluation splits without whose rows there is no score."""
        parts = (read.partition("/") for read in self.reads)
        return tuple(dict.fromkeys(part for part, slash, _ in parts if slash and part not in TRAINING))

    @property
    def parts(self) -> tuple[str, ...]:
        """Evaluation splits and sides whose rows the model must have seen for a score; of a rule of figures, none."""
        return tuple(dict.fromkeys(read.partition("/")[0] for read in self.reads)) if self.reads_model else ()

    @property
    def needs_target_labels(self) -> bool:
        """Whether it reads a split of the target, whose labels it sees."""
        return any(split.startswith("target_") for split in self.splits)

    @property
    def is_oracle(self) -> bool:
        """Whether it reads the test split; reported only as an upper bound."""
        return "target_test" in self.splits

    def score(self, row: Row, metric: str) -> float | None:
        """Return the score of one epoch, higher is better.

        Args:
            row: of the history.
            metric: that stands for `{metric}`.

        Returns:
            The score; None where the row lacks what the rule reads.

        Raises:
            ValueError: a figure is nan.
        """
        if self.reads_model:
            return _figure(row, self.name)
        values = [_figure(row, read.format(metric=metric)) for read in self.reads]
        if any(value is None for value in values):
            return None
        signs = [1 if "{metric}" not in read or higher_is_better(metric) else -1 for read in self.reads]
        return self.function(*(sign * value for sign, value in zip(signs, values, strict=True)))


def _figure(row: Row, key: str) -> float | None:
    value = row.get(key)
    if value is not None and math.isnan(value):
        raise ValueError(f"epoch {row['epoch']}: {key} is nan, no epoch can be selected by it")
    return value


def register_rule(
    name: str,
    *,
    reads: tuple[str, ...],
    of: tuple[str, ...] | None = None,
    tie: str | None = None,
    offline: bool = False,
) -> Callable[[Any], Any]:
    """Register a selection rule; arguments as the fields of `Rule`.

    Raises:
        ValueError: a name that cannot be one, reads that mix figures with what a model makes, or a name that is taken.
    """
    if not name or "/" in name:
        raise ValueError(f"rule: got the name {name!r}, wants a text without '/'")
    of_model = [read.partition("/")[2] in OF_MODEL for read in reads]
    if any(of_model) and not all(of_model):
        raise ValueError(f"rule {name!r}: reads {', '.join(reads)}, wants figures alone or none")

    def add(function: Callable[..., float | None]) -> Callable[..., float | None]:
        RULES.add(name, Rule(name, function, tuple(reads), of, tie, offline))
        return function

    return add


@register_rule("last", reads=("epoch",))
def last(epoch: float) -> float:
    """The last epoch."""
    return epoch


@register_rule("source_val", reads=("source_val/{metric}",), tie="source_val/log_loss")
@register_rule("target_val", reads=("target_val/{metric}",), tie="target_val/log_loss")
@register_rule("oracle", reads=("target_test/{metric}",), tie="target_test/log_loss")
def of_split(value: float) -> float:
    """The best value of the metric on one split."""
    return value
