"""What is predicted: a class, a number or a preference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tl_research.outcomes.base import Outcome as Outcome
from tl_research.outcomes.classes import ClassOutcome as ClassOutcome
from tl_research.outcomes.number import NumberOutcome as NumberOutcome
from tl_research.outcomes.preference import PreferenceOutcome as PreferenceOutcome

#: Every kind of outcome that a data set of the catalogue can have.
KINDS: dict[str, type[Outcome]] = {
    outcome.kind: outcome for outcome in (ClassOutcome, NumberOutcome, PreferenceOutcome)
}


def outcome_of(classes: Sequence[str], labels: Sequence[Tensor], *, has_unknown: bool = False) -> Outcome:
    """Return the outcome of a task.

    Args:
        classes: names of its classes; empty where the label is a number.
        labels: (n,) each, those that training may see.
        has_unknown: whether the last class is `unknown`, of which no row is seen in training.

    Raises:
        DataError: numbers that cannot be standardised.
    """
    return ClassOutcome(tuple(classes), has_unknown) if classes else NumberOutcome.fit(labels)


def outcome_from(state: dict[str, Any]) -> Outcome:
    """Return the outcome of a model file; the inverse of `Outcome.state_dict`."""
    return KINDS[state["kind"]](**{name: value for name, value in state.items() if name != "kind"})
