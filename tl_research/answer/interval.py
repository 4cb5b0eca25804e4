"""How sure a gain is: the interval of a mean over resamples of the same rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tl_research.report.statistics import LEVEL, resampled_interval


def gain_interval(
    differences: Sequence[float], *, test_rows: int, train_rows: int, level: float = LEVEL
) -> tuple[float, float]:
    """Return the ends of the corrected resampled t interval of a mean difference; infinite for a single difference.

    Args:
        differences: one per resample.
        test_rows, train_rows: of a resample.
        level: nominal coverage.

    Reference:
        Nadeau & Bengio 2003, Machine Learning 52(3), section 3.
    """
    if len(differences) < 2:
        return -math.inf, math.inf
    share = test_rows / (test_rows + train_rows)
    return resampled_interval(np.asarray(differences, dtype=np.float64), test_share=share, level=level)
