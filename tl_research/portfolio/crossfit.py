"""What each part says of labelled target rows that it has not seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from tl_research.alignment.base import Rows
from tl_research.portfolio.mixtures import Mixture
from tl_research.portfolio.parts import Part, score_columns

FOLDS = 5
#: The folds are drawn anew until so many rows were predicted, at most `MOST_REPEATS` times.
PREDICTED_ROWS, MOST_REPEATS = 400, 4


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
) -> dict[str, Tensor]:
    """Return part -> outputs (k, classes) or (k, 1) of the shown rows, each predicted by fits without it.

    The parts are fitted to the rows of the other folds; where the folds are drawn several times, a row has the mean of
    its probabilities (of numbers, of its outputs). Outputs are log probabilities, float64.

    Args:
        mixture: of the outcome.
        parts: whose heads are fitted, and left in the state of the last fold.
        learners: fitted to the source.
        source: (n, d) rows of the old domains.
        shown: (k, d) labelled target rows.
        classes: number of classes.
        repeats: times that the folds are drawn.
        seed: of folds and learners.
    """
    scores = {name: learner(shown.x) for name, learner in learners.items()}
    columns = score_columns(scores, shown.x)
    sums: dict[str, Tensor] = {}
    for repeat in range(repeats):
        fold = folds_of(shown.label, stratified=mixture.stratified, seed=seed + 7919 * repeat)
        for name, said in _one_round(parts, source, shown, scores, columns, fold, classes, seed):
            sums[name] = sums.get(name, 0) + mixture.to_add(said) / repeats
    return {name: mixture.from_sum(total) for name, total in sums.items()}


def _one_round(parts, source, shown, scores, columns, fold, classes, seed) -> Iterator[tuple[str, Tensor]]:
    for name, part in parts.items():
        if not part.reads_target:
            yield name, part(shown.x, scores).double()
            continue
        said = None
        for number in np.unique(fold):
            inside = torch.from_numpy(np.flatnonzero(fold != number)).to(shown.x.device)
            outside = torch.from_numpy(np.flatnonzero(fold == number)).to(shown.x.device)
            seen = Rows(shown.x[inside], shown.label[inside])
            part.fit(source, seen, columns[inside], classes=classes, seed=seed)
            of_rows = {key: value[outside] for key, value in scores.items()}
            found = part(shown.x[outside], of_rows).double()
            said = found.new_zeros(len(shown.x), found.shape[1]) if said is None else said
            said[outside] = found
        yield name, said
