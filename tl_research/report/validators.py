"""How well each selection rule orders what runs have saved, by the target's test labels: for research alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tl_research.errors import DataError
from tl_research.evaluation.rules import Row
from tl_research.evaluation.saved import saved_epochs, scores_of
from tl_research.metrics.registered import higher_is_better
from tl_research.registry import RULES
from tl_research.runs.record import read_history, read_record

#: Rules that order nothing, or read what they are measured by.
LEFT_OUT = ("last", "oracle")


@dataclass(frozen=True)
class Quality:
    """What a rule is worth on the epochs of some runs.

    Fields:
        rule: its name.
        correlation: Spearman's, of score and metric over all epochs; None where a side is constant.
        chosen: metric of the epoch with the highest score (of equals the mean).
        best: metric of the best of all epochs, which the oracle chooses.
        epochs: epochs with a score.
    """

    rule: str
    correlation: float | None
    chosen: float
    best: float
    epochs: int


def scored_history(folder: str | Path) -> list[Row]:
    """Return the history of a run, each epoch with the scores of all rules that can be had from its saved outputs.

    Epochs that no rule may choose (of a source stage) are left out.

    Raises:
        DataError: nothing is saved, a file is damaged, or the history lacks an epoch.
    """
    history = {row["epoch"]: row for row in read_history(folder) if row.get("selectable", True)}
    files = saved_epochs(folder)
    return [row | scores_of(files[epoch]) for epoch, row in history.items() if epoch in files]


def qualities(runs: Sequence[str | Path], metric: str | None = None) -> list[Quality]:
    """Return what each rule is worth over the epochs of all runs, the best correlation first.

    The runs must be of one target, or the epochs cannot be compared.

    Args:
        runs: folders of finished runs with saved outputs.
        metric: of target_test; default the one whose interval the first record has.

    Raises:
        DataError: nothing is saved, runs of several targets, or a metric that no epoch has.
    """
    records = [record for run in runs if (record := read_record(Path(run))) is not None]
    if len(records) < len(runs) or any(record.status != "ok" for record in records):
        raise DataError(f"{', '.join(map(str, runs))}: not all are folders of finished runs")
    targets = {record.task["target"] for record in records}
    if len(targets) > 1:
        raise DataError(f"runs of {len(targets)} targets ({', '.join(sorted(targets))}) cannot be ordered by one rule")
    rows = [row for run in runs for row in scored_history(run)]
    shown = metric or records[0].data["test"]["metric"]
    truth = [row.get(f"target_test/{shown}") for row in rows]
    if not rows or any(value is None for value in truth):
        raise DataError(f"{runs[0]}: its epochs have no target_test/{shown}")
    sign = 1.0 if higher_is_better(shown) else -1.0
    found = []
    for name, rule in RULES.items():
        scores = [None if name in LEFT_OUT else rule.score(row, shown) for row in rows]
        pairs = [(score, value) for score, value in zip(scores, truth, strict=True) if score is not None]
        if pairs:
            best = sign * max(sign * value for value in truth)
            found.append(_quality(name, *map(np.array, zip(*pairs)), sign, best))
    return sorted(found, key=lambda quality: -(quality.correlation if quality.correlation is not None else -2))


def _quality(name: str, score: np.ndarray, value: np.ndarray, sign: float, best: float) -> Quality:
    from scipy.stats import spearmanr

    varies = np.ptp(score) > 0 and np.ptp(value) > 0
    correlation = sign * float(spearmanr(score, value).statistic) if varies else None
    return Quality(name, correlation, float(value[score == score.max()].mean()), best, len(score))
