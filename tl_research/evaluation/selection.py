"""Which epoch of a run each selection rule chooses.

A history is a list of rows, one per epoch: `{"epoch": 0, "source_val/accuracy": 0.8, "target_test/accuracy": 0.7,
"im": 0.3, "dev": -0.5, ...}`.
"""

from __future__ import annotations

from collections.abc import Sequence

from tl_research.evaluation.rules import Row, Rule
from tl_research.metrics.registered import higher_is_better
from tl_research.registry import RULES


def best_epoch(history: Sequence[Row], rule: str | Rule, metric: str) -> int | None:
    """Return the epoch that a rule chooses.

    Args:
        history: rows of the run, in any order; rows without a score for this rule are passed over.
        rule: a name of `RULES`, or the rule.
        metric: the metric that rules read (`accuracy`, `auroc`, ...).

    Returns:
        The epoch, or None where no row of this history has a score.

    Raises:
        ValueError: unknown rule or metric, or a score that is nan.
    """
    best = _best(history, RULES.find(rule) if isinstance(rule, str) else rule, metric)
    return None if best is None else int(best[0]["epoch"])


def select(history: Sequence[Row], metric: str) -> dict[str, dict[str, float]]:
    """Return what the record stores: for each rule that has a score, its epoch, its score and that epoch's metrics.

    Scores of one rule can be compared between runs: higher is better.

    Args:
        history: rows of the run.
        metric: the metric that rules read.

    Returns:
        rule -> {"epoch": e, "score": s, "<split>/<metric>": value, ...}; scores of the other rules, and metrics
        without a value, are left out.
    """
    chosen = {}
    for name, rule in RULES.items():
        best = _best(history, rule, metric)
        if best is not None:
            row, score = best
            metrics = {key: value for key, value in row.items() if "/" in key and value is not None}
            chosen[name] = {"epoch": int(row["epoch"]), "score": float(score), **metrics}
    return chosen


def _best(history: Sequence[Row], rule: Rule, metric: str) -> tuple[Row, float] | None:
    higher_is_better(metric)  # an unknown metric is named even where the rule reads none
    # Epochs of the source stage cannot be selected: the method itself has not started.
    scored = [(row, rule.score(row, metric)) for row in history if row.get("selectable", True)]
    scored = [(row, score) for row, score in scored if score is not None]
    if not scored:
        return None
    best = max(score for _, score in scored)
    equals = [row for row, score in scored if score == best]
    return min(equals, key=lambda row: ((row.get(rule.tie) or 0.0) if rule.tie else 0.0, row["epoch"])), best
