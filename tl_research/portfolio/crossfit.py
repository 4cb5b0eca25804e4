"""What each part says of labelled target rows that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from tl_research.alignment.base import Rows
from tl_research.portfolio.mixtures import Mixture
from tl_research.portfolio.part import Part, Scores, score_columns

FOLDS = 5
#: The folds are drawn anew until so many rows were predicted, at most `MOST_REPEATS` times.
PREDICTED_ROWS, MOST_REPEATS = 400, 4
#: Where the rows are many, no more folds are predicted than give so many rows.
ENOUGH_ROWS = 4_000


def repeats_of(rows: int) -> int:
    """Return how many times the folds are drawn for a number of rows."""
    return max(1, min(MOST_REPEATS, PREDICTED_ROWS // max(1, rows)))


def folds_of(label: Tensor, *, stratified: bool, seed: int) -> np.ndarray:
    """Return (n,) the fold of each row: every class is dealt out evenly, in random order.

    Args:
        label: (n,) classes, or numbers, which are not stratified.
        stratified: whether the labels are classes.
        seed: of the order.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(label))
    if stratified:
        order = order[np.argsort(label.cpu().numpy()[order], kind="stable")]
    fold = np.empty(len(label), dtype=np.int64)
    # One class goes on where the one before it has ended, so that the folds are equally large.
    fold[order] = np.arange(len(label)) % min(FOLDS, len(label))
    return fold


def cross_fitted(
    mixture: Mixture,
    parts: Mapping[str, Part],
    learners: Mapping[str, nn.Module],
    source: Rows,
    shown: Rows,
    *,
    classes: int,
    repeats: int,
    seed: int,
    done: Mapping[tuple[int, str], Tensor] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return places (m,) among the shown rows, and part -> outputs (m, classes) or (m, 1) by fits without the row.

    The parts are fitted to the rows of the other folds; where the folds are drawn several times, a row has the mean of
    its probabilities (of numbers, of its outputs). Outputs are log probabilities, float64. Of many rows, only those of
    the first folds that have `ENOUGH_ROWS` together are predicted.

    Args:
        mixture: of the outcome.
        parts: whose heads are fitted, and left in the state of the last fold.
        learners: fitted to the source.
        source: (n, d) rows of the old domains.
        shown: (k, d) labelled target rows.
        classes: number of classes.
        repeats: times that the folds are drawn.
        seed: of folds and learners.
        done: (repeat, part) -> what `said_in` returns, where other processes have computed it.
    """
    scores = Scores.of(learners, shown.x)
    columns = score_columns(scores, shown.x)
    sums: dict[str, Tensor] = {}
    places = torch.arange(len(shown.x), device=shown.x.device)
    for repeat in range(repeats):
        fold = folds_in(repeat, mixture, shown, seed=seed)
        predicted = np.isin(fold, np.arange(folds_predicted(fold)))
        places = torch.from_numpy(np.flatnonzero(predicted)).to(shown.x.device)
        for name, part in parts.items():
            if done is not None:
                said = done[repeat, name]
            else:
                said = said_in(fold, part, scores, columns, source, shown, classes=classes, seed=seed)
            sums[name] = sums.get(name, 0) + mixture.to_add(said[places]) / repeats
    return places, {name: mixture.from_sum(total) for name, total in sums.items()}


def folds_in(repeat: int, mixture: Mixture, shown: Rows, *, seed: int) -> np.ndarray:
    """Return (k,) the fold of each shown row in one of the repeats."""
    return folds_of(shown.label, stratified=mixture.stratified, seed=seed + 7919 * repeat)


def folds_predicted(fold: np.ndarray) -> int:
    """Return how many of the folds (n,) are predicted: all, or the first that have `ENOUGH_ROWS` together."""
    rows = np.bincount(fold).cumsum()
    return min(len(rows), int(np.searchsorted(rows, ENOUGH_ROWS)) + 1)


def said_in(
    fold: np.ndarray,
    part: Part,
    scores: Scores,
    columns: Tensor,
    source: Rows,
    shown: Rows,
    *,
    classes: int,
    seed: int,
) -> Tensor:
    """Return what one part says of the shown rows (k, classes) or (k, 1), float64, by fits without the row.

    Rows of folds that are not predicted have zeros. A part that reads no target label is not fitted.

    Args:
        fold: (k,) of `folds_in`.
        part: whose head is fitted, and left in the state of the last fold.
        scores: what the learners of the source say of the shown rows.
        columns: (k, s) the same as columns, `score_columns`.
        source: (n, d) rows of the old domains.
        shown: (k, d) labelled target rows.
        classes: number of classes.
        seed: of the learner.
    """
    if not part.reads_target:
        return part(shown.x, scores).double()
    said = None
    for number in range(folds_predicted(fold)):
        inside = torch.from_numpy(np.flatnonzero(fold != number)).to(shown.x.device)
        outside = torch.from_numpy(np.flatnonzero(fold == number)).to(shown.x.device)
        seen = Rows(shown.x[inside], shown.label[inside])
        part.fit(source, seen, columns[inside], classes=classes, seed=seed, quick=True)
        found = part(shown.x[outside], scores.rows(outside)).double()
        said = found.new_zeros(len(shown.x), found.shape[1]) if said is None else said
        said[outside] = found
    return said
