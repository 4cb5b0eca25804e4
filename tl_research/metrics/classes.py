"""Metrics of classes, computed exactly in float64.

torchmetrics counts the confusion matrix. Its other functions are not used: they divide in float32 (errors up to 1e-7),
`auroc` and `average_precision` rank probabilities, which saturate at 1 where log-odds still order the rows, and with
ten classes they take twice as long; its calibration error puts a confidence on the edge of two bins in the upper one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from tl_research.metrics.hidden import HIDDEN
from tl_research.metrics.registered import metric, values_of

ECE_BINS = 15


@dataclass(frozen=True, eq=False)
class ClassRows:
    """Rows with a class each: what a metric `of="class"` takes, with what several of them need, computed once.

    A class that no row has as its label is left out of every macro average (rows predicted as such a class still
    count as misses of their own).

    Fields:
        logits: (n, classes) float64, finite, classes >= 2, n >= 1.
        label: (n,) int64 class index.
        group: (n,) what group a row is of (a user, a day), for metrics within groups; None where there are none.
        has_unknown: whether the last class is `unknown`, as of `ClassOutcome`.
    """

    logits: np.ndarray
    label: np.ndarray
    group: np.ndarray | None = None
    has_unknown: bool = False

    @classmethod
    def of(
        cls, logits: Tensor, label: Tensor, group: np.ndarray | None = None, *, has_unknown: bool = False
    ) -> ClassRows:
        """Check the rows.

        Args:
            logits: (n, classes) float, classes >= 2.
            label: (n,) integer class index, none of them hidden.
            group: (n,) of any type that sorts, or None.
            has_unknown: whether the last class is `unknown`.

        Raises:
            ValueError: no rows, wrong shapes, a hidden or out-of-range label, or a logit that is not finite.
        """
        if logits.ndim != 2 or logits.shape[1] < 2 or not logits.is_floating_point():
            wants = "wants float (n, classes), classes >= 2"
            raise ValueError(f"logits: got {tuple(logits.shape)} {logits.dtype}, {wants}")
        if label.shape != logits.shape[:1] or label.is_floating_point() or label.dtype == torch.bool:
            wants = f"wants {logits.shape[0]} class indices"
            raise ValueError(f"label: got {tuple(label.shape)} {label.dtype}, {wants}")
        if label.numel() == 0:
            raise ValueError("classification_metrics: no rows")
        if group is not None and np.shape(group) != (label.numel(),):
            raise ValueError(f"group: got {np.shape(group)}, wants one group for each of {label.numel()} rows")
        numbers = logits.detach().to("cpu", torch.float64).numpy(), label.detach().to("cpu", torch.int64).numpy()
        rows = cls(*numbers, None if group is None else np.asarray(group), has_unknown)
        rows._check_label()
        finite = np.isfinite(rows.logits)
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            found = f"{rows.logits[row, column]} in row {row}, class {column}"
            raise ValueError(f"logits: {found}; all logits must be finite")
        return rows

    def _check_label(self) -> None:
        hidden = int((self.label == HIDDEN).sum())
        if hidden:
            raise ValueError(f"label: {hidden} of {self.label.size} labels are hidden; metrics need rows with labels")
        wrong = self.label[(self.label < 0) | (self.label >= self.classes)]
        if wrong.size:
            raise ValueError(f"label: got {wrong[0]}, wants 0 to {self.classes - 1}")

    @property
    def classes(self) -> int:
        """Number of classes, of the model rather than of these rows."""
        return self.logits.shape[1]

    @cached_property
    def shifted(self) -> np.ndarray:
        """Logits (n, classes) minus the row's largest."""
        return self.logits - self.logits.max(axis=1, keepdims=True)

    @cached_property
    def unnormalised(self) -> np.ndarray:
        """exp of `shifted`; divided by `total` the class probabilities."""
        return np.exp(self.shifted)

    @cached_property
    def total(self) -> np.ndarray:
        """(n,) sum over classes of `unnormalised`."""
        return self.unnormalised.sum(axis=1)

    @cached_property
    def probability(self) -> np.ndarray:
        """Probabilities (n, classes)."""
        return self.unnormalised / self.total[:, None]

    @cached_property
    def prediction(self) -> np.ndarray:
        """(n,) class of the largest logit; of equal logits the first wins."""
        return self.shifted.argmax(axis=1)

    @cached_property
    def confusion(self) -> np.ndarray:
        """(classes, classes) rows of label i that are predicted as j."""
        # Not torchmetrics': it takes seconds to import, as it looks at images and texts too.
        pair = self.label.astype(np.int64) * self.classes + self.prediction
        return np.bincount(pair, minlength=self.classes**2).reshape(self.classes, self.classes)

    @cached_property
    def present(self) -> np.ndarray:
        """Classes that a row has as its label."""
        return np.flatnonzero(self.confusion.sum(axis=1))

    @cached_property
    def hits(self) -> np.ndarray:
        """(classes,) rows of each class that are predicted rightly."""
        return np.diagonal(self.confusion)

    @cached_property
    def rankings(self) -> list[Ranking]:
        """One ranking for two classes, of class 1; for more, one of each present class against the others.

        They use log-odds, not probabilities, which order rows in the same way but do not saturate at 1.
        """
        if self.classes == 2:
            return [Ranking.of(self.logits[:, 1] - self.logits[:, 0], self.label == 1)]
        log_odds = self._log_odds()
        return [Ranking.of(log_odds[:, c], self.label == c) for c in self.present]

    def _log_odds(self) -> np.ndarray:
        """ln p_c / (1 - p_c) of every class, without the cancellation of 1 - p_c where p_c is close to 1."""
        rows = np.arange(len(self.label))
        others = self.total[:, None] - self.unnormalised
        without_top = self.unnormalised.copy()
        without_top[rows, self.prediction] = 0
        others[rows, self.prediction] = without_top.sum(axis=1)
        return self.shifted - np.log(np.maximum(others, np.finfo(np.float64).tiny))


@dataclass(frozen=True, eq=False)
class Ranking:
    """Positive and negative rows in the order of their scores, those of one score together.

    Fields:
        positives, negatives: rows of each.
        gained, lost: (scores,) positives and negatives of each distinct score, from the highest.
        above: (scores,) positives of that score or a higher one.
        rows: (scores,) rows of that score or a higher one.
    """

    positives: int
    negatives: int
    gained: np.ndarray
    lost: np.ndarray
    above: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, score: np.ndarray, positive: np.ndarray) -> Ranking:
        """Rank rows by score (n,), of which some are `positive` (n,) bool."""
        order = np.argsort(score)[::-1]
        ordered = score[order]
        last_of_tie = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
        above = np.cumsum(positive[order])[last_of_tie]
        rows = 1 + last_of_tie
        gained, lost = np.diff(above, prepend=0), np.diff(rows - above, prepend=0)
        return cls(above[-1], rows[-1] - above[-1], gained, lost, above, rows)

    def auroc(self) -> float | None:
        """P(positive above negative) + ½ P(tie) over all pairs; None where one of the kinds has no row."""
        if not (self.positives and self.negatives):
            return None
        # Positives above each negative; those tied with it count half.
        return (self.lost * (self.above - self.gained / 2)).sum() / (self.positives * self.negatives)

    def average_precision(self) -> float | None:
        """Σ over distinct scores of (recall gained there) * (precision there); None without positives."""
        return np.sum(self.gained * (self.above / self.rows)) / self.positives if self.positives else None


def _macro(values: list[float | None]) -> float | None:
    return None if any(value is None for value in values) else np.mean(values)


@metric("accuracy", better="high", of="class", percent=True)
def accuracy(rows: ClassRows) -> float:
    """Share of rows whose largest logit is their label's."""
    return rows.hits.sum() / len(rows.label)


@metric("balanced_accuracy", better="high", of="class", percent=True)
def balanced_accuracy(rows: ClassRows) -> float:
    """Mean recall of the present classes."""
    return np.mean(rows.hits[rows.present] / rows.confusion.sum(axis=1)[rows.present])


@metric("macro_f1", better="high", of="class", percent=True)
def macro_f1(rows: ClassRows) -> float:
    """Mean of 2 TP / (2 TP + FP + FN) over the present classes."""
    support, predicted = rows.confusion.sum(axis=1), rows.confusion.sum(axis=0)
    return np.mean(2 * rows.hits[rows.present] / (support + predicted)[rows.present])


@metric("auroc", better="high", of="class", percent=True)
def auroc(rows: ClassRows) -> float | None:
    """P(score of a positive > of a negative) + ½ P(equal); None where a split has one class only.

    With two classes, class 1 is the positive one; with more, it is the mean over one-vs-rest problems.

    Reference:
        Hanley & McNeil 1982, Radiology 143(1).
    """
    return _macro([ranking.auroc() for ranking in rows.rankings])


@metric("average_precision", better="high", of="class", percent=True)
def average_precision(rows: ClassRows) -> float | None:
    """Σ_k (R_k - R_{k-1}) P_k over distinct scores; of several classes as `auroc`.

    None in a two-class problem without a positive row.
    """
    return _macro([ranking.average_precision() for ranking in rows.rankings])


@metric("log_loss", better="low", of="class", bounds=(0, math.inf))
def log_loss(rows: ClassRows) -> float:
    """Mean of -ln p(label), in nats, not clipped."""
    return np.mean(np.log(rows.total) - rows.shifted[np.arange(len(rows.label)), rows.label])


@metric("ece", better="low", of="class", bounds=(0, 1))
def ece(rows: ClassRows) -> float:
    """Expected calibration error: Σ_b |B_b| / n · |accuracy(B_b) - confidence(B_b)|.

    The 15 bins ((b-1)/15, b/15] are of the confidence in the predicted class.

    Reference:
        Guo et al. 2017, ICML, section 2.
    """
    confidence = 1 / rows.total
    upper_edges = np.arange(1, ECE_BINS) / ECE_BINS
    bins = np.searchsorted(upper_edges, confidence, side="left")
    gap = np.bincount(bins, weights=(rows.prediction == rows.label) - confidence, minlength=ECE_BINS)
    return np.abs(gap).sum() / len(confidence)


def classification_metrics(logits: Tensor, label: Tensor, *, has_unknown: bool = False) -> dict[str, float]:
    """Compute every metric of classes that has a value on these rows; arguments and errors as of `ClassRows.of`."""
    return values_of("class", ClassRows.of(logits, label, has_unknown=has_unknown))
