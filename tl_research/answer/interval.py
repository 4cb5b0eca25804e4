"""How sure a gain is: the interval of a mean over resamples of the same rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tl_research.metrics.left_out import Noise, noise_of
from tl_research.report.statistics import LEVEL, resampled_interval, t_reach, variance_over

#: What training rows that resamples share may at most add to the variance, as a share of what training is seen to add.
MOST_SHARED = 0.5
#: Of the variance of what a gate holds back, the share that the gated gain has at least.
HELD_BACK = 0.5


def gain_interval(
    differences: Sequence[float],
    *,
    test_rows: int,
    train_rows: int,
    shown_rows: int | None = None,
    without: Any = None,
    held_back: Any = None,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Return an interval of the gain that the procedure has on new rows, in the mean over draws of the labelled rows.

    With `without`, the differences without each part of the labelled rows, the variance of the mean is that of
    `report.statistics.variance_over`: the noise of the test rows, from the jackknife, and what the variance between
    resamples has beyond it, times 1 / J + min(1/2, u / (n - u)). Resamples share training rows, so that what training
    adds does not average out: u of the n labelled rows are learnt from, which makes the last term u / (n - u). It is
    held to one half, because it is estimated from few resamples. The interval is mean ± t V^½, with Satterthwaite's
    degrees of freedom (`benchmarks/coverage.py` has its coverage).

    Without `without` it is the corrected resampled t interval, which is too wide for repeated folds (98 to 100 %).

    Args:
        differences: one per resample.
        test_rows, train_rows: rows on the two sides of a resample; they make up the n labelled rows.
        shown_rows: rows of the training side that are learnt from; None: all.
        without: (J, G) the same differences without each part of the rows (`left_out`), nan where there is none.
        held_back: (J, G) of a gated gain: those of the answer that always hears the old data. A gate that is shut in
            every resample makes differences of 0, which are not as sure as they look: V_rows is at least half of that
            answer's.
        level: nominal coverage.

    Returns:
        The ends; infinite for a single difference.

    Reference:
        Nadeau & Bengio 2003, Machine Learning 52(3), section 3 (without `without`).
    """
    values = np.asarray(differences, dtype=np.float64)
    count = len(values)
    if count < 2:
        return -math.inf, math.inf
    rows = test_rows + train_rows
    if without is None or not np.isfinite(np.asarray(without, dtype=np.float64)).any(axis=1).all():
        return resampled_interval(values, test_share=test_rows / rows, level=level)
    noise = noise_of(without)
    if held_back is not None:
        held = noise_of(held_back)
        if HELD_BACK * held.mean > noise.mean:
            noise = Noise(HELD_BACK * held.mean, HELD_BACK * held.one, held.freedom)
    used = train_rows if shown_rows is None else shown_rows
    shared = min(MOST_SHARED, used / max(1, rows - used))
    reach, mean = t_reach([variance_over(values, noise, shared=shared)], level=level), float(values.mean())
    return mean - reach, mean + reach
