"""The answer of `compare` in one sentence: did the old data help the new market?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from tl_research.metrics.registered import higher_is_better
from tl_research.report.scores import Scores
from tl_research.report.statistics import resampled_interval
from tl_research.suites.compare import NEW_DATA_ONLY, WITH_OLD_DATA


def verdict(frame: pd.DataFrame, suite, *, test_share: float) -> str | None:
    """Return the sentence: the best of simple learners with the old data against the best without them.

    Both rows choose among learners by cross-fitting on the same target labels. The interval is `resampled_interval` of
    the paired gains over seeds (+ is better, also of an error), each of which draws the test rows and the labels anew.

    Args:
        frame: from `collect`.
        suite: made by `comparison`.
        test_share: share of the target's labelled rows that a seed tests on.

    Returns:
        The sentence; None where no seed has both rows.
    """
    scores, old, new = _paired(frame, suite)
    if not len(old):
        return None
    gains = _better(suite) * (old - new)
    figures = (
        f"{suite.metric} {scores.shown(old.mean())} with them against {scores.shown(new.mean())} "
        f"from the new data alone, better by {scores.shown_difference(gains.mean())}"
    )
    low, high = -np.inf, np.inf
    if len(gains) > 1:
        low, high = resampled_interval(gains, test_share=test_share)
        figures += f" [{scores.shown_difference(low)}, {scores.shown_difference(high)}]"
    if low > 0:
        said = "The old data helped"
    elif high < 0:
        said = "The old data hurt"
    else:
        said = "No gain or loss from the old data could be shown"
    return f"{said}: {figures}; use `{best_of(frame, suite)}`."


def best_of(frame: pd.DataFrame, suite) -> str:
    """Return the label of the better of the two rows, by the mean over the seeds that have both."""
    _, old, new = _paired(frame, suite)
    return WITH_OLD_DATA if _better(suite) * (old - new).mean() > 0 else NEW_DATA_ONLY


def _paired(frame: pd.DataFrame, suite) -> tuple[Scores, np.ndarray, np.ndarray]:
    """Return all scores, and those with and without the old data of the seeds that have both."""
    scores = Scores.of(frame, suite, suite.metric)
    (task,) = scores.tasks
    old, new = (scores.values[label].get(task, {}) for label in (WITH_OLD_DATA, NEW_DATA_ONLY))
    seeds = sorted(old.keys() & new.keys())
    return scores, np.array([old[seed] for seed in seeds]), np.array([new[seed] for seed in seeds])


def _better(suite) -> int:
    return 1 if higher_is_better(suite.metric) else -1
