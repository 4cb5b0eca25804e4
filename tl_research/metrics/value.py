"""What acting on the predictions is worth: a value for each of the four cells of the confusion matrix.

One acts on the rows whose probability of the second class is at least the threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tl_research.metrics.classes import ClassRows
from tl_research.metrics.registered import Metric
from tl_research.metrics.requested import family, named_numbers

CELLS = ("tp", "fp", "fn", "tn")


class Payoff(NamedTuple):
    """What one row is worth, in any unit; costs are negative.

    Fields:
        tp, fp: one acts, and the row is positive; negative.
        fn, tn: one does not act, and the row is positive; negative.
    """

    tp: float = 0.0
    fp: float = 0.0
    fn: float = 0.0
    tn: float = 0.0

    @property
    def threshold(self) -> float:
        """Probability from which acting is worth at least as much as not acting, where probabilities are right.

        (tn - fp) / ((tn - fp) + (tp - fn)).

        Reference:
            Elkan 2001, IJCAI, equation 2.
        """
        harm, help_ = self.tn - self.fp, self.tp - self.fn
        return harm / (harm + help_)


def payoff_of(numbers: dict[str, float]) -> Payoff:
    """Return the payoff of `{"tp": 20, "fp": -1}`; a cell that is not named is worth 0.

    Raises:
        ValueError: another name, or a payoff under which acting never pays on a positive row, or always on a negative.
    """
    for name in numbers:
        if name not in CELLS:
            raise ValueError(f"got {name!r}, wants some of tp, fp, fn and tn")
    payoff = Payoff(**numbers)
    if payoff.tp <= payoff.fn:
        raise ValueError(f"got tp={payoff.tp:g} and fn={payoff.fn:g}, wants tp above fn")
    if payoff.tn <= payoff.fp:
        raise ValueError(f"got tn={payoff.tn:g} and fp={payoff.fp:g}, wants tn above fp")
    return payoff


def value_at(probability: np.ndarray, label: np.ndarray, payoff: Payoff, threshold: float) -> float:
    """Return the mean value of a row where one acts from a threshold on.

    Args:
        probability: (n,) of the positive class.
        label: (n,) 1 is positive.
        payoff: of the four cells.
        threshold: probability from which one acts.
    """
    acts, positive = probability >= threshold, np.asarray(label).astype(bool)
    cells = (acts & positive, acts & ~positive, ~acts & positive, ~acts & ~positive)
    return float(sum(worth * cell.mean() for worth, cell in zip(payoff, cells, strict=True)))


def best_threshold(probability: np.ndarray, label: np.ndarray, payoff: Payoff) -> float:
    """Return the threshold of the highest mean value on these rows, half way between two probabilities.

    Chosen on rows that the model has not seen and that are not tested on, such as the cross-fitted training rows; on
    the tested rows themselves its value is too good. Of equal values that of the threshold nearest to
    `Payoff.threshold` is taken. 0 means to act on every row, and a number above 1 on none.

    Args:
        probability: (n,) of the positive class.
        label: (n,) 1 is positive.
        payoff: of the four cells.
    """
    order = np.argsort(probability)
    ordered, positive = probability[order], np.asarray(label).astype(bool)[order]
    # Value where one acts on all rows but the first k.
    lost = np.where(positive, payoff.fn - payoff.tp, payoff.tn - payoff.fp)
    values = np.append(0.0, np.cumsum(lost))
    cut = np.append(True, np.append(ordered[1:] != ordered[:-1], True))
    between = np.concatenate([[0.0], (ordered[1:] + ordered[:-1]) / 2, [np.nextafter(1.0, 2.0)]])
    # Two neighbouring probabilities may have no number between them.
    between[1:-1] = np.where(between[1:-1] <= ordered[:-1], ordered[1:], between[1:-1])
    best = np.flatnonzero(cut & (values >= values[cut].max() - 1e-9 * np.abs(lost).max()))
    return float(between[best[np.abs(between[best] - payoff.threshold).argmin()]])


def value_metric(payoff: Payoff, threshold: float | None = None, *, name: str = "value") -> Metric:
    """Return the metric of a payoff, per row.

    Args:
        payoff: of the four cells.
        threshold: from which one acts; None: that of the payoff, which is the best one for right probabilities.
        name: of the metric.
    """
    acts_from = payoff.threshold if threshold is None else threshold

    def value(rows: ClassRows) -> float:
        return value_at(rows.probability[:, 1], rows.label, payoff, acts_from)

    return Metric(name, value, True, "class", False, two_classes=True)


@family("value:", example="value:tp=20,fp=-1")
def value_of(text: str, classes: Sequence[str]) -> Metric:
    """Return the metric of `tp=20,fp=-1`, with `threshold=0.3` at a given threshold.

    Raises:
        ValueError: saying what it wants.
    """
    numbers = named_numbers(text)
    threshold = numbers.pop("threshold", None)
    if threshold is not None and not 0 <= threshold <= 1:
        raise ValueError(f"got threshold={threshold:g}, wants a probability from 0 to 1")
    return value_metric(payoff_of(numbers), threshold, name=f"value:{text}")
