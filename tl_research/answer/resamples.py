"""How the labelled target rows are split again and again into rows to learn from and rows to test on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

#: Of folds and of the rarest class: folds test at least so many groups of each class, else splits are drawn at random.
FEWEST_TESTED = 2
#: Share of the groups that a random split tests on.
TEST_SHARE = 1 / 3


class Resample(NamedTuple):
    """One split.

    Fields:
        train, test: places among the labelled target rows, sorted; no place is in both.
    """

    train: np.ndarray
    test: np.ndarray


def resamples(
    label: np.ndarray, *, stratified: bool, groups: np.ndarray, folds: int, repeats: int, seed: int
) -> list[Resample]:
    """Return `folds` · `repeats` splits: folds where the labels suffice for them, random splits where they are few.

    Folds are drawn anew for each repeat, and every row is tested once per repeat. They are drawn where every fold tests
    `FEWEST_TESTED` groups of each class (of numbers: twice as many in all). Where labels are fewer, every split tests a
    third of each class's groups, drawn at random; a class of a single group is never tested.

    Args:
        label: (n,) class indices, or numbers.
        stratified: whether labels are classes, which are dealt out evenly. A group has the class of most of its rows.
        groups: (n,) any integers; rows of one group are always on one side.
        folds: of a repeat, 2 or more.
        repeats: 1 or more.
        seed: of the draws.

    Raises:
        ValueError: fewer than two groups.
    """
    group, of_row = np.unique(groups, return_inverse=True)
    if len(group) < 2:
        raise ValueError("the labelled rows are one group, which cannot be split")
    size = np.bincount(of_row)
    stratum = _commonest_class(label, of_row) if stratified else np.zeros(len(group), dtype=np.int64)
    random = np.random.default_rng(seed)
    rarest = np.bincount(stratum)[np.unique(stratum)].min()
    found = []
    if rarest >= folds * FEWEST_TESTED * (1 if stratified else 2):
        for _ in range(repeats):
            fold = _dealt(stratum, size, folds, random)[of_row]
            found += [_split(fold == number) for number in range(folds)]
    else:
        for _ in range(folds * repeats):
            found.append(_split(_drawn(stratum, random)[of_row]))
    return found


def _split(tested: np.ndarray) -> Resample:
    return Resample(np.flatnonzero(~tested), np.flatnonzero(tested))


def _commonest_class(label: np.ndarray, of_row: np.ndarray) -> np.ndarray:
    """(groups,) the class of most of a group's rows; of equally many, the first."""
    classes = int(label.max()) + 1
    pair, count = np.unique(of_row.astype(np.int64) * classes + label, return_counts=True)
    group, code = pair // classes, pair % classes
    order = np.lexsort((code, -count, group))
    return code[order][np.unique(group[order], return_index=True)[1]]


def _dealt(stratum: np.ndarray, size: np.ndarray, folds: int, random: np.random.Generator) -> np.ndarray:
    """(groups,) the fold of each group: stratum by stratum, the largest groups of each first, dealt out in turn."""
    order = random.permutation(len(stratum))
    order = order[np.lexsort((-size[order], stratum[order]))]
    fold = np.empty(len(stratum), dtype=np.int64)
    fold[order] = random.permutation(folds)[np.arange(len(stratum)) % folds]
    return fold


def _drawn(stratum: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(groups,) bool: a third of the groups of each stratum, at least one where it has two."""
    tested = np.zeros(len(stratum), dtype=bool)
    for value in np.unique(stratum):
        of_stratum = random.permutation(np.flatnonzero(stratum == value))
        count = max(1, round(TEST_SHARE * len(of_stratum))) if len(of_stratum) > 1 else 0
        tested[of_stratum[:count]] = True
    return tested
