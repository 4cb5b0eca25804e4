"""MAE and RMSE of two predictors on rows that belong to users: their difference, with an interval over users."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from tl_research.metrics.intervals import LEVEL

KINDS = ("mae", "rmse")


@dataclass(frozen=True)
class Difference:
    """A difference of a metric on one set of rows, and what each user adds to its error.

    Fields:
        value: metric of the first predictor less that of the second; below 0 the first is better.
        users: (u,) sorted codes.
        influence: (u,), sums to 0: to first order, by how much the value is off because these users were drawn.
    """

    value: float
    users: np.ndarray
    influence: np.ndarray


def difference(kind: str, first: np.ndarray, second: np.ndarray, user: np.ndarray) -> Difference:
    """Return the difference of two predictors' errors over all rows alike, a user with many rows counts with each.

    With g = |e₁| - |e₂| (`mae`), or g = e₁² / (2 RMSE₁) - e₂² / (2 RMSE₂) (`rmse`, the delta method), a user's
    influence is Σ_{rows of the user} (g - mean g) / n.

    Args:
        kind: `mae` or `rmse`.
        first, second: (n,) errors, label less prediction or the reverse, n >= 1.
        user: (n,) codes.

    Raises:
        ValueError: another kind.
    """
    if kind == "mae":
        parts = [np.abs(first), np.abs(second)]
        value = parts[0].mean() - parts[1].mean()
    elif kind == "rmse":
        roots = [math.sqrt((error**2).mean()) for error in (first, second)]
        parts = [error**2 / (2 * max(root, 1e-300)) for error, root in zip((first, second), roots, strict=True)]
        value = roots[0] - roots[1]
    else:
        raise ValueError(f"kind: got {kind!r}, wants one of {', '.join(KINDS)}")
    per_row = parts[0] - parts[1]
    users, of = np.unique(user, return_inverse=True)
    influence = np.bincount(of, weights=(per_row - per_row.mean()) / len(per_row), minlength=len(users))
    return Difference(float(value), users, influence)


def over_users(parts: Sequence[Difference], *, level: float = LEVEL) -> tuple[float, float, float]:
    """Return the mean of the differences, and the ends of its interval for new users.

    The same users test in several splits: a user's influences are averaged over the splits, 0 in one without a row of
    theirs, to ψ_u, and the mean is ± t_{u-1} · sqrt(u / (u - 1) · Σ ψ_u²). Rows of a user may depend on each other.
    With one user the interval is everything.

    Args:
        parts: one per split.
        level: nominal coverage.

    Reference:
        Liang & Zeger 1986, Biometrika 73(1): the variance by clusters.
    """
    mean = float(np.mean([part.value for part in parts]))
    users = np.unique(np.concatenate([part.users for part in parts]))
    if len(users) < 2:
        return mean, -math.inf, math.inf
    influence = np.zeros(len(users))
    for part in parts:
        influence[np.searchsorted(users, part.users)] += part.influence / len(parts)
    count = len(users)
    half = t.ppf((1 + level) / 2, count - 1) * math.sqrt(count / (count - 1) * float((influence**2).sum()))
    return mean, mean - half, mean + half
