"""Whether a selection rule can have a score in any epoch, as far as the splits tell before training."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from tl_research.data.batch import Samples
from tl_research.errors import ConfigError
from tl_research.outcomes.base import Outcome
from tl_research.registry import RULES


def why_not(rule: str, splits: Mapping[str, Samples], metric: str, *, outcome: Outcome) -> str | None:
    """Say why no epoch will have a score by a rule; None where nothing speaks against it.

    Args:
        rule: a name of `RULES`.
        splits: evaluation splits by name, with their labels.
        metric: that rules read.
        outcome: what is predicted.
    """
    found = RULES[rule]
    if found.of is not None and outcome.kind not in found.of:
        return f"{rule} takes a label of kind {' or '.join(found.of)}, this one is {outcome.kind}"
    for split in found.splits:
        if split not in splits or not splits[split].size:
            return f"there is no row of {split}"
        label = splits[split].label
        # Which metrics have a value depends on the labels alone.
        if found.reads_metric and metric not in outcome.metrics(torch.ones(len(label), outcome.width), label):
            rows = f"the {len(label)} rows of {split} are" if len(label) > 1 else f"the one row of {split} is"
            return f"{rows} of one class, and {metric} has no value there"
    return None


def rule_of_run(
    rule: str,
    splits: Mapping[str, Samples],
    metric: str,
    *,
    outcome: Outcome,
    from_auto: bool,
    shown: int | None,
) -> tuple[str, str | None]:
    """Return the rule that a run keeps its weights by, and a sentence for screen and record where it is another one.

    Args:
        rule: `selection.rule`, resolved.
        splits, metric, outcome: as of `why_not`.
        from_auto: whether `selection.rule=auto` was resolved to it; `auto` gives way to `last`.
        shown: target labels that train; None where the setting shows none.

    Raises:
        ConfigError: a rule that was asked for by name can have no score.
    """
    reason = why_not(rule, splits, metric, outcome=outcome)
    if reason is None:
        return rule, None
    if shown is not None and RULES[rule].needs_target_labels:
        validate = splits["target_val"].size if "target_val" in splits else 0
        reason += (
            f" (of {shown + validate} target labels shown, {validate} validate: of each class a fifth, rounded down)"
        )
    if from_auto:
        return "last", f"selection.rule=auto is last here: {reason}, which {rule} would read"
    apply = [
        name for name, other in RULES.items()
        if not other.is_oracle and why_not(name, splits, metric, outcome=outcome) is None
    ]  # fmt: skip
    raise ConfigError(f"selection.rule: got {rule!r}, but {reason}; wants one of {', '.join(apply)}")
