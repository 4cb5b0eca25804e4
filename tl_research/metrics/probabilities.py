"""Are the probabilities right? Brier score, and calibration errors with bins of equal width and of equal size."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tl_research.metrics.classes import ECE_BINS, ClassRows
from tl_research.metrics.requested import requested


@requested("brier", better="low", bounds=(0, 2))
def brier(rows: ClassRows) -> float:
    """Mean of Σ_c (p_c - [label = c])²; of two classes half of it, which is the mean of (p - y)².

    Between 0 and 1 for two classes, and 0 and 2 for more: as in scikit-learn.

    Reference:
        Brier 1950, Monthly Weather Review 78(1).
    """
    gap = rows.probability.copy()
    gap[np.arange(len(rows.label)), rows.label] -= 1
    total = np.mean((gap**2).sum(axis=1))
    return total / 2 if rows.classes == 2 else total


class Bins(NamedTuple):
    """Rows by their probability.

    Fields:
        rows: (bins,) of each bin that has some.
        predicted: (bins,) their mean probability.
        happened: (bins,) share of them that are positive.
    """

    rows: np.ndarray
    predicted: np.ndarray
    happened: np.ndarray

    @property
    def error(self) -> float:
        """Σ_b n_b / n · |happened_b - predicted_b|."""
        return float(np.abs(self.rows * (self.happened - self.predicted)).sum() / self.rows.sum())


def equal_width(probability: np.ndarray, positive: np.ndarray, bins: int = ECE_BINS) -> Bins:
    """Return the bins ((b-1)/B, b/B] of the probability (n,); the first holds 0 too."""
    place = np.searchsorted(np.arange(1, bins) / bins, probability, side="left")
    return _bins(place, probability, positive, bins)


def equal_size(probability: np.ndarray, positive: np.ndarray, bins: int = ECE_BINS) -> Bins:
    """Return bins of n / B rows each in the order of the probability (n,); equal probabilities share the lowest one.

    So a model that says one number of all rows has one bin.
    """
    first = np.searchsorted(np.sort(probability), probability, side="left")
    return _bins(first * bins // len(probability), probability, positive, bins)


def _bins(place: np.ndarray, probability: np.ndarray, positive: np.ndarray, bins: int) -> Bins:
    rows = np.bincount(place, minlength=bins)
    there = rows > 0
    sums = (np.bincount(place, weights=values, minlength=bins)[there] for values in (probability, positive))
    predicted, happened = (total / rows[there] for total in sums)
    return Bins(rows[there], predicted, happened)


@requested("adaptive_ece", better="low", bounds=(0, 1))
def adaptive_ece(rows: ClassRows) -> float:
    """Calibration error of a class's probability, with 15 bins of equal size (`equal_size`).

    Of two classes that of the second (the first has the same); of more the mean over the classes. `ece` looks at the
    confidence in the predicted class alone, in bins of equal width, most of which a rare class leaves empty.

    Reference:
        Nixon et al. 2019, CVPR workshops, section 3 (adaptive calibration error).
    """
    of = [1] if rows.classes == 2 else range(rows.classes)
    return float(np.mean([equal_size(rows.probability[:, c], rows.label == c).error for c in of]))
