"""Classes in an order, such as stars, and classes that weigh differently.

The order is that of the outcome's classes, and two neighbours are one step apart, whatever they are called. The
predicted class is the one of the largest probability; of equal ones the first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tl_research.metrics.classes import ClassRows
from tl_research.metrics.registered import Metric
from tl_research.metrics.requested import family, named_numbers, requested


@requested("quadratic_kappa", better="high", bounds=(-1, 1))
def quadratic_kappa(rows: ClassRows) -> float | None:
    """1 - Σ_ij (i - j)² O_ij / Σ_ij (i - j)² E_ij: 1 is perfect, 0 chance; None where all rows are of one class.

    O counts the rows of class i that are predicted as j, and E = (row sums · column sums) / n is what independent
    labels and predictions with these shares would have. None too where all labels and all predictions are one class.

    Reference:
        Cohen 1968, Psychological Bulletin 70(4).
    """
    seen = rows.confusion
    place = np.arange(rows.classes)
    distance = (place[:, None] - place) ** 2
    expected = (distance * np.outer(seen.sum(axis=1), seen.sum(axis=0))).sum() / len(rows.label)
    return 1 - (distance * seen).sum() / expected if expected else None


@requested("ordinal_mae", better="low", bounds=(0, math.inf))
def ordinal_mae(rows: ClassRows) -> float:
    """Mean |predicted class - label|, in steps of the order."""
    return np.mean(np.abs(rows.prediction - rows.label))


@requested("weighted_f1", better="high", percent=True)
def weighted_f1(rows: ClassRows) -> float:
    """Mean over rows of the F1 of their label's class: `macro_f1` with the classes' rows as weights."""
    support, predicted = rows.confusion.sum(axis=1), rows.confusion.sum(axis=0)
    return np.sum(support * 2 * rows.hits / np.maximum(support + predicted, 1)) / len(rows.label)


def weighted_accuracy(rows: ClassRows, weight: np.ndarray) -> float | None:
    """Σ_i w(y_i) [right] / Σ_i w(y_i), with a weight for each class; None where all rows have the weight 0.

    Args:
        rows: of the split.
        weight: (classes,) 0 or more. All equal it is the accuracy, 1 / n_c the balanced accuracy.
    """
    of_rows = weight[rows.label]
    return np.sum(of_rows * (rows.prediction == rows.label)) / of_rows.sum() if of_rows.sum() > 0 else None


@family("weighted_accuracy:", example="weighted_accuracy:no=1,yes=5")
def weighted_accuracy_of(text: str, classes: Sequence[str]) -> Metric:
    """Return the metric for weights by the names of classes; a class that is not named has the weight 1.

    Raises:
        ValueError: a name that no class has, or a weight below 0.
    """
    weights = named_numbers(text)
    for name, weight in weights.items():
        if classes and name not in classes:
            raise ValueError(f"got {name!r}, wants one of the classes {', '.join(classes)}")
        if weight < 0:
            raise ValueError(f"got {name}={weight:g}, wants a weight of 0 or more")

    def value(rows: ClassRows) -> float | None:
        if len(classes) != rows.classes:
            raise ValueError(f"weighted_accuracy: {len(classes)} names of classes, and outputs of {rows.classes}")
        return weighted_accuracy(rows, np.array([weights.get(name, 1.0) for name in classes]))

    return Metric(f"weighted_accuracy:{text}", value, True, "class", True)
