"""Metrics within groups: how rows of one user, one query or one day are ranked among themselves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from tl_research.metrics.classes import ClassRows
from tl_research.metrics.requested import requested


class GroupedAuroc(NamedTuple):
    """AUROC within groups.

    Fields:
        value: mean over the groups that have both classes, weighted by their rows; None where no group has.
        groups, rows: that it is the mean of.
        groups_left_out, rows_left_out: of one class alone, where nothing can be ranked.
    """

    value: float | None
    groups: int
    rows: int
    groups_left_out: int
    rows_left_out: int


def grouped_auroc(score: np.ndarray, label: np.ndarray, group: np.ndarray) -> GroupedAuroc:
    """GAUC = Σ_g n_g AUROC_g / Σ_g n_g over the groups with both classes.

    Args:
        score: (n,) higher for the positive class; equal scores count half.
        label: (n,) 1 (or True) is positive.
        group: (n,) of any type that sorts.

    Reference:
        Zhou et al. 2018, KDD (Deep Interest Network), section 5.3.
    """
    _, place = np.unique(group, return_inverse=True)
    positive = np.asarray(label).astype(bool)
    order = np.argsort(place, kind="stable")
    sizes = np.bincount(place)
    ends = np.cumsum(sizes)
    # Ranks of all rows at once: those of another group lie above or below all of this one's.
    of_all = rankdata(score)
    ranks = np.empty(len(order))
    ranks[order] = rankdata(place[order] * (len(order) + 1.0) + of_all[order]) - (ends - sizes)[place[order]]
    positives = np.bincount(place, weights=positive)
    negatives = sizes - positives
    sums = np.bincount(place, weights=ranks * positive)
    both = (positives > 0) & (negatives > 0)
    auroc = (sums[both] - positives[both] * (positives[both] + 1) / 2) / (positives[both] * negatives[both])
    value = float(np.average(auroc, weights=sizes[both])) if both.any() else None
    rows = int(sizes[both].sum())
    return GroupedAuroc(value, int(both.sum()), rows, int((~both).sum()), len(order) - rows)


@requested("gauc", better="high", percent=True, two_classes=True, needs_group=True)
def gauc(rows: ClassRows) -> float | None:
    """AUROC within each group, weighted by its rows (`grouped_auroc`); None where no group has both classes.

    Raises:
        ValueError: the rows do not say their groups.
    """
    if rows.group is None:
        raise ValueError("gauc: wants the group of each row")
    return grouped_auroc(rows.logits[:, 1] - rows.logits[:, 0], rows.label, rows.group).value
