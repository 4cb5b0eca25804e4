"""Whether a selection rule can have a score in any epoch, as far as the splits tell before training."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from tl_research.data.paired import EvaluationSplit
from tl_research.errors import ConfigError
from tl_research.evaluation.selection import RULES
from tl_research.metrics.classes import classification_metrics
from tl_research.metrics.numbers import regression_metrics

#: Rules whose value is no metric of a split but is made of one.
MADE_OF = {"dev": "source_val"}


def why_not(rule: str, splits: Mapping[str, EvaluationSplit], metric: str, *, classes: int) -> str | None:
    """Say why no epoch will have a score by a rule; None where nothing speaks against it.

    Args:
        rule: a name of `RULES`.
        splits: evaluation splits by name, with their labels.
        metric: that rules read (the data set's first).
        classes: number of classes; 0 for regression.
    """
    key = RULES[rule].key
    if rule == "im" and not classes:
        return "a regression has no class probabilities"
    split = MADE_OF.get(rule) or (key.partition("/")[0] if "/" in key else None)
    if split is None:
        return None
    label = splits[split].label if split in splits else torch.zeros(0)
    if not len(label):
        return f"there is no row of {split}"
    if "{metric}" not in key:
        return None
    if classes:
        # Which metrics have a value depends on the labels alone.
        has_value = metric in classification_metrics(torch.zeros(len(label), classes), label)
    else:
        has_value = metric in regression_metrics(torch.zeros(len(label)), label.double())
    if has_value:
        return None
    rows = f"the {len(label)} rows of {split} are" if len(label) > 1 else f"the one row of {split} is"
    return f"{rows} of one class, and {metric} has no value there"


def rule_of_run(
    rule: str,
    splits: Mapping[str, EvaluationSplit],
    metric: str,
    *,
    classes: int,
    from_auto: bool,
    shown: int | None,
) -> tuple[str, str | None]:
    """Return the rule that a run keeps its weights by, and a sentence for screen and record where it is another one.

    Args:
        rule: `selection.rule`, resolved.
        splits, metric, classes: as of `why_not`.
        from_auto: whether `selection.rule=auto` was resolved to it; `auto` gives way to `last`.
        shown: target labels that train; None where the setting shows none.

    Raises:
        ConfigError: a rule that was asked for by name can have no score.
    """
    reason = why_not(rule, splits, metric, classes=classes)
    if reason is None:
        return rule, None
    if shown is not None and RULES[rule].needs_target_labels:
        validate = len(splits["target_val"].label) if "target_val" in splits else 0
        reason += (
            f" (of {shown + validate} target labels shown, {validate} validate: of each class a fifth, rounded down)"
        )
    if from_auto:
        return "last", f"selection.rule=auto is last here: {reason}, which {rule} would read"
    apply = [
        name for name, other in RULES.items()
        if not other.is_oracle and why_not(name, splits, metric, classes=classes) is None
    ]  # fmt: skip
    raise ConfigError(f"selection.rule: got {rule!r}, but {reason}; wants one of {', '.join(apply)}")
