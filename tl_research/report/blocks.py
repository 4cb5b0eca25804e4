"""Which rows of a suite are compared with which: rows that train on target labels, and rows that do not."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from tl_research.registry import METHODS
from tl_research.report.scores import Scores

#: Methods that are the reference of their block where the suite's baseline stands in the other one.
WITHOUT_LABELS, WITH_LABELS = "source_only", "target_only"


@dataclass(frozen=True)
class Comparison:
    """Rows that train on target labels, or rows that do not, and the row that their differences are taken to.

    Fields:
        labels: of the rows, without the reference.
        reference: label of the row; None where the suite has none of this kind.
        sees_labels: whether the rows train on target labels (to choose an epoch by some is not to train on them).
    """

    labels: tuple[str, ...]
    reference: str | None
    sees_labels: bool

    @property
    def title(self) -> str:
        """Heading of the table of differences."""
        kind = "train on target labels" if self.sees_labels else "train on no target label"
        return f"Rows that {kind}: difference to {self.reference}"


def comparisons(frame: pd.DataFrame, suite, scores: Scores) -> list[Comparison]:
    """Return the blocks of a suite, that of its baseline first; none where the suite has no baseline.

    A row without target labels cannot hurt against one that has them: it is compared with `source_only`, a row with
    labels with `target_only`, wherever the suite's own baseline is not of their kind.

    Args:
        frame: from `collect`.
        suite: names rows and baseline.
        scores: rows without a value are left out.
    """
    if not suite.baseline or not scores.values.get(suite.baseline):
        return []
    sees = {label: sees_labels(part) for label, part in frame.groupby("label", sort=False)}
    found = []
    for kind in (sees[suite.baseline], not sees[suite.baseline]):
        rows = [row for row in suite.methods if scores.values[row.label] and sees.get(row.label) == kind]
        reference = suite.baseline if kind == sees[suite.baseline] else _of_its_kind(rows, kind)
        if reference is None and kind:
            reference = suite.baseline
        labels = tuple(row.label for row in rows if row.label != reference)
        # Not worth a word: the baseline alone.
        if labels or (rows and reference != suite.baseline):
            found.append(Comparison(labels, reference, kind))
    return found


def sees_labels(part: pd.DataFrame) -> bool:
    """Whether the runs of a row train on target labels: the setting shows some, and the method reads them."""
    methods = [name for name in part["method"].unique() if name in METHODS.names()]
    reads = all("target_labeled" in METHODS.get(name).target.reads for name in methods)
    return reads and set(part["setting"]) != {"unsupervised"}


def _of_its_kind(rows, sees_labels: bool) -> str | None:
    method = WITH_LABELS if sees_labels else WITHOUT_LABELS
    return next((row.label for row in rows if row.method == method), None)
