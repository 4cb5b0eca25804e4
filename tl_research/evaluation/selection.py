"""Selection rules: which epoch of a run is reported, and what each rule may look at.

A history is a list of rows, one an epoch: `{"epoch": 0, "source_val/accuracy": 0.8, "target_test/accuracy":
0.7, "im": 0.3, "dev": -0.5, ...}`. A rule reads one value of a row, and one more among equals, so that what it depends
on can be seen here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tl_research.errors import nearest
from tl_research.metrics.registered import higher_is_better

Row = Mapping[str, float | bool | None]


@dataclass(frozen=True)
class Rule:
    """How an epoch is chosen: the one with the highest score (a metric of which lower is better:
    the lowest value); of equals the one with the lowest log loss on the same split, and of those the earliest. (On the
    few labels of a small validation split most epochs are equal.)

    Fields:
        name: as in `selection.rule`.
        key: the value of a row that it reads; `{metric}` stands for the data set's first metric.
        tie_key: the value, lower is better, that it reads among equals; rows without it count as 0.
        needs_target_labels: whether that value is made from labels of the target domain.
        is_oracle: whether it reads the test split; reported only as an upper bound.
    """

    name: str
    key: str
    tie_key: str | None = None
    needs_target_labels: bool = False
    is_oracle: bool = False

    def score(self, row: Row, metric: str) -> float | None:
        """Return the score of one epoch, higher is better; None where the row has no value for this rule."""
        key = self.key.format(metric=metric)
        value = row.get(key)
        if value is None:
            return None
        if math.isnan(value):
            raise ValueError(f"epoch {row['epoch']}: {key} is nan, no epoch can be selected by it")
        reads_metric = key != self.key
        return -value if reads_metric and not higher_is_better(metric) else value


RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule("last", key="epoch"),
        Rule("source_val", key="source_val/{metric}", tie_key="source_val/log_loss"),
        Rule("im", key="im"),
        Rule("dev", key="dev"),
        Rule("target_val", key="target_val/{metric}", tie_key="target_val/log_loss", needs_target_labels=True),
        Rule(
            "oracle",
            key="target_test/{metric}",
            tie_key="target_test/log_loss",
            needs_target_labels=True,
            is_oracle=True,
        ),
    )
}


def best_epoch(history: Sequence[Row], rule: str | Rule, metric: str) -> int | None:
    """Return the epoch that a rule chooses.

    Args:
        history: rows of the run, in any order; rows without a score for this rule are passed over.
        rule: a name of `RULES`, or the rule.
        metric: the data set's first metric (`accuracy`, `auroc`, ...).

    Returns:
        The epoch, or None where no row of this history has a score.

    Raises:
        ValueError: unknown rule or metric, or a score that is nan.
    """
    row = _best_row(history, rule, metric)
    return None if row is None else int(row["epoch"])


def select(history: Sequence[Row], metric: str) -> dict[str, dict[str, float]]:
    """Return what the record stores: for each rule that has a score, its epoch and that epoch's metrics.

    Args:
        history: rows of the run.
        metric: the data set's first metric.

    Returns:
        rule -> {"epoch": e, "<split>/<metric>": value, ...}; validator scores, which are no metric of a split,
        and metrics without a value are left out.
    """
    chosen = {}
    for name, rule in RULES.items():
        row = _best_row(history, rule, metric)
        if row is not None:
            metrics = {key: value for key, value in row.items() if "/" in key and value is not None}
            chosen[name] = {"epoch": int(row["epoch"]), **metrics}
    return chosen


def _best_row(history: Sequence[Row], rule: str | Rule, metric: str) -> Row | None:
    if isinstance(rule, str):
        if rule not in RULES:
            raise ValueError(f"rule: there is no {rule!r}{nearest(rule, RULES)}")
        rule = RULES[rule]
    higher_is_better(metric)
    # An epoch of the source stage is no epoch of a method that begins after it.
    scored = [(row, rule.score(row, metric)) for row in history if row.get("selectable", True)]
    scored = [(row, score) for row, score in scored if score is not None]
    if not scored:
        return None
    best = max(score for _, score in scored)
    equals = [row for row, score in scored if score == best]
    return min(equals, key=lambda row: ((row.get(rule.tie_key) or 0.0) if rule.tie_key else 0.0, row["epoch"]))
