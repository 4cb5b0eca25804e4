"""Metrics of a whole split, of classes and of numbers, computed exactly in float64."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tl_research.metrics.hidden import HIDDEN

#: Direction of every metric that a history or a record may hold.
HIGHER_IS_BETTER: dict[str, bool] = {
    "accuracy": True,
    "balanced_accuracy": True,
    "macro_f1": True,
    "auroc": True,
    "average_precision": True,
    "log_loss": False,
    "ece": False,
    "r2": True,
    "rmse": False,
    "mae": False,
}
ECE_BINS = 15


def classification_metrics(logits: Tensor, label: Tensor) -> dict[str, float]:
    """Compute every classification metric of `HIGHER_IS_BETTER` that has a value on these rows.

    A class that no row has as its label is left out of every macro average (rows predicted as such a class
    still count as misses of their own). With two classes, class 1 is the positive class of `auroc` and
    `average_precision`; with more, both are macro averages over one-vs-rest problems.

    - `accuracy`: share of rows whose largest logit is their label's (of equal logits the first wins).
    - `balanced_accuracy`: mean recall. `macro_f1`: mean of 2 TP / (2 TP + FP + FN).
    - `auroc`: P(score of a positive > of a negative) + ½ P(equal). Absent where a split has one class only.
    - `average_precision`: Σ_k (R_k - R_{k-1}) P_k over distinct scores. Absent in a two-class problem without
      a positive row.
    - `log_loss`: mean of -ln p(label), in nats, not clipped.
    - `ece`: Σ_b |B_b| / n · |accuracy(B_b) - confidence(B_b)| over 15 bins ((b-1)/15, b/15] of the confidence
      in the predicted class.

    Ranking metrics use log-odds, not probabilities: they order rows in the same way but do not saturate at 1.

    Args:
        logits: (n, classes) float, classes >= 2.
        label: (n,) integer class index, none of them hidden.

    Returns:
        metric name -> value; a metric that has no value on these rows is absent, never nan.

    Raises:
        ValueError: no rows, wrong shapes, a hidden or out-of-range label, or a logit that is not finite.

    Reference:
        Hanley & McNeil 1982 (AUROC as a probability, ties at one half); Guo et al. 2017, ICML, section 2 (ECE).
    """
    logits, label = _checked(logits, label)
    n, classes = logits.shape
    shifted = logits - logits.max(axis=1, keepdims=True)
    unnormalised = np.exp(shifted)
    total = unnormalised.sum(axis=1)
    prediction = shifted.argmax(axis=1)

    confusion = np.bincount(label * classes + prediction, minlength=classes**2).reshape(classes, classes)
    hits, support, predicted = np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    present = np.flatnonzero(support)
    values = {
        "accuracy": hits.sum() / n,
        "balanced_accuracy": np.mean(hits[present] / support[present]),
        "macro_f1": np.mean(2 * hits[present] / (support + predicted)[present]),
    }
    if classes == 2:
        ranked = [_ranking_metrics(logits[:, 1] - logits[:, 0], label == 1)]
    else:
        log_odds = _log_odds(shifted, unnormalised, total, prediction)
        ranked = [_ranking_metrics(log_odds[:, c], label == c) for c in present]
    for name in ("auroc", "average_precision"):
        if all(name in of_class for of_class in ranked):
            values[name] = np.mean([of_class[name] for of_class in ranked])
    values["log_loss"] = np.mean(np.log(total) - shifted[np.arange(n), label])
    values["ece"] = _expected_calibration_error(1 / total, prediction == label)
    return {name: float(value) for name, value in values.items()}


def regression_metrics(prediction: Tensor, label: Tensor) -> dict[str, float]:
    """Compute `r2`, `rmse` and `mae`, in the label's own unit.

    - `r2`: 1 - Σ_i (y_i - f_i)² / Σ_i (y_i - mean y)², with the mean of these rows; below 0 for predictions that are
      worse than it. Absent where all labels are equal.
    - `rmse`: sqrt(mean (y - f)²). `mae`: mean |y - f|.

    Args:
        prediction: (n,) float.
        label: (n,) float, none of them hidden.

    Returns:
        metric name -> value.

    Raises:
        ValueError: no rows, wrong shapes, or a value that is hidden or not finite.
    """
    if prediction.ndim != 1 or label.shape != prediction.shape or label.numel() == 0:
        raise ValueError(f"prediction {tuple(prediction.shape)} and label {tuple(label.shape)}: wants (n,) and (n,)")
    f, y = (part.detach().to("cpu", torch.float64).numpy() for part in (prediction, label))
    for name, values in (("prediction", f), ("label", y)):
        if not np.isfinite(values).all():
            row = int((~np.isfinite(values)).argmax())
            raise ValueError(f"{name}: {values[row]} in row {row}; metrics need finite numbers")
    error = y - f
    values = {"rmse": np.sqrt(np.mean(error**2)), "mae": np.mean(np.abs(error))}
    if y.min() < y.max():
        values["r2"] = 1 - np.sum(error**2) / np.sum((y - y.mean()) ** 2)
    return {name: float(value) for name, value in values.items()}


def _checked(logits: Tensor, label: Tensor) -> tuple[np.ndarray, np.ndarray]:
    if logits.ndim != 2 or logits.shape[1] < 2 or not logits.is_floating_point():
        raise ValueError(f"logits: got {tuple(logits.shape)} {logits.dtype}, wants float (n, classes), classes >= 2")
    if label.shape != logits.shape[:1] or label.is_floating_point() or label.dtype == torch.bool:
        raise ValueError(f"label: got {tuple(label.shape)} {label.dtype}, wants {logits.shape[0]} class indices")
    if label.numel() == 0:
        raise ValueError("classification_metrics: no rows")
    scores = logits.detach().to("cpu", torch.float64).numpy()
    truth = label.detach().to("cpu", torch.int64).numpy()
    hidden = int((truth == HIDDEN).sum())
    if hidden:
        raise ValueError(f"label: {hidden} of {truth.size} labels are hidden; metrics need rows with labels")
    if truth.min() < 0 or truth.max() >= scores.shape[1]:
        wrong = truth[(truth < 0) | (truth >= scores.shape[1])][0]
        raise ValueError(f"label: got {wrong}, wants 0 to {scores.shape[1] - 1}")
    finite = np.isfinite(scores)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise ValueError(f"logits: {scores[row, column]} in row {row}, class {column}; all logits must be finite")
    return scores, truth


def _log_odds(shifted: np.ndarray, unnormalised: np.ndarray, total: np.ndarray, top: np.ndarray) -> np.ndarray:
    """ln p_c / (1 - p_c) of every class, without the cancellation of 1 - p_c where p_c is close to 1."""
    rows = np.arange(len(top))
    others = total[:, None] - unnormalised
    without_top = unnormalised.copy()
    without_top[rows, top] = 0
    others[rows, top] = without_top.sum(axis=1)
    return shifted - np.log(np.maximum(others, np.finfo(np.float64).tiny))


def _ranking_metrics(score: np.ndarray, positive: np.ndarray) -> dict[str, float]:
    order = np.argsort(score)[::-1]
    ordered = score[order]
    last_of_tie = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    true_positives = np.cumsum(positive[order])[last_of_tie]
    false_positives = 1 + last_of_tie - true_positives
    positives, negatives = true_positives[-1], false_positives[-1]
    gained = np.diff(true_positives, prepend=0)
    values = {}
    if positives and negatives:
        # positives above each negative, those tied with it counted half
        above = np.diff(false_positives, prepend=0) * (true_positives - gained / 2)
        values["auroc"] = above.sum() / (positives * negatives)
    if positives:
        values["average_precision"] = np.sum(gained * (true_positives / (1 + last_of_tie))) / positives
    return values


def _expected_calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    upper_edges = np.arange(1, ECE_BINS) / ECE_BINS
    bins = np.searchsorted(upper_edges, confidence, side="left")
    gap = np.bincount(bins, weights=correct - confidence, minlength=ECE_BINS)
    return np.abs(gap).sum() / len(confidence)
