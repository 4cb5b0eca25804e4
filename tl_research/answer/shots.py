"""Fewer labels than there are: which of a resample's training rows show theirs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tl_research.errors import UserError

#: Labels that every class has among the shown ones.
FEWEST_OF_CLASS = 2
#: Draws in vain after which the rarest classes are given their labels.
MOST_DRAWS = 10_000


def draw_in_all(label: np.ndarray, sizes: Sequence[int], *, stratified: bool, seed: int) -> dict[int, np.ndarray]:
    """Return size -> places (size,), sorted, of the rows that show their label; a smaller draw is part of a larger one.

    The smallest is drawn at random, and drawn again until every class has `FEWEST_OF_CLASS` labels in it. Rows are then
    added at random.

    Args:
        label: (n,) of the training rows: class indices, or numbers.
        sizes: numbers of labels, each at most n.
        stratified: whether labels are classes.
        seed: of the draws.

    Raises:
        UserError: the smallest number cannot hold two labels of each class.
    """
    random, smallest = np.random.default_rng(seed), min(sizes)
    if stratified:
        _, of_row = np.unique(label, return_inverse=True)
        count = _counts(np.bincount(of_row), smallest, random)
        first = np.concatenate(
            [random.permutation(np.flatnonzero(of_row == code))[:number] for code, number in enumerate(count)]
        )
    else:
        first = random.permutation(len(label))[:smallest]
    order = np.concatenate([first, random.permutation(np.setdiff1d(np.arange(len(label)), first))])
    return {size: np.sort(order[:size]) for size in sizes}


def _counts(of_class: np.ndarray, shots: int, random: np.random.Generator) -> np.ndarray:
    """How many labels of each class a draw has, given that each class has enough."""
    least = np.minimum(of_class, FEWEST_OF_CLASS)
    if least.sum() > shots:
        raise UserError(
            f"--shots: {shots} labels in all cannot hold {FEWEST_OF_CLASS} of each of {len(of_class)} classes, "
            f"wants at least {least.sum()}"
        )
    for _ in range(MOST_DRAWS):
        count = random.multivariate_hypergeometric(of_class, shots)
        if (count >= least).all():
            return count
    return least + random.multivariate_hypergeometric(of_class - least, shots - least.sum())


def draw_per_class(label: np.ndarray, sizes: Sequence[int], *, seed: int) -> dict[int, np.ndarray]:
    """Return size -> places, sorted, of `size` rows of each class, or as many as it has; nested as above."""
    order = np.random.default_rng(seed).permutation(len(label))
    place = np.empty(len(label), dtype=np.int64)
    for code in np.unique(label):
        of_class = order[label[order] == code]
        place[of_class] = np.arange(len(of_class))
    return {size: np.flatnonzero(place < size) for size in sizes}
