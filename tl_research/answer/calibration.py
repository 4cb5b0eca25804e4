"""Whether what is predicted agrees on average with what is so."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from tl_research.outcomes import Outcome


def _of_classes(outcome, outputs: Tensor, label: Tensor) -> dict[str, tuple[float, float]]:
    predicted = outcome.probabilities(outputs).mean(dim=0)
    of_all = {
        name: (float(predicted[code]), float((label == code).double().mean()))
        for code, name in enumerate(outcome.names)
    }
    # Of two classes the second says all.
    return dict(list(of_all.items())[-1:]) if outcome.width == 2 else of_all


def _of_numbers(outcome, outputs: Tensor, label: Tensor) -> dict[str, tuple[float, float]]:
    return {"": (float(outcome.values(outputs).mean()), float(label.double().mean()))}


#: By kind of outcome.
_MEANS: dict[str, Callable[..., dict[str, tuple[float, float]]]] = {"class": _of_classes, "regression": _of_numbers}


def means(outcome: Outcome, outputs: Tensor, label: Tensor) -> dict[str, tuple[float, float]]:
    """Return class -> (mean predicted probability, share of rows); of numbers "" -> (mean prediction, mean label)."""
    return _MEANS[outcome.kind](outcome, outputs, label)
