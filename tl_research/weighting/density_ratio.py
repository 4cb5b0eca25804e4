"""The density ratio from a classifier of the domains."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tl_research.registry import register_weighting
from tl_research.weighting.classifier import ClassifierConfig, log_odds
from tl_research.weighting.prepared import prepared

#: Log of the largest weight that is returned as it is.
LARGEST = 600.0


@dataclass
class DensityRatioConfig(ClassifierConfig):
    """Options of the classifier's density ratio."""

    name: str = "density_ratio"


@register_weighting(
    "density_ratio", config=DensityRatioConfig, paper="Bickel et al. 2009, JMLR 10, section 3", gain=0.09
)
def density_ratio(
    source: Tensor, target: Tensor, config: DensityRatioConfig, *, label: Tensor | None = None, seed: int
) -> tuple[Tensor, dict[str, Any]]:
    """Density ratio by a probabilistic classifier of the domains, a logistic regression.

    w(x) = n/m · p(target | x) / p(source | x), by Bayes' rule the ratio p_T(x) / p_S(x).

    Exact for two Gaussians of one covariance; with `squares`, for diagonal covariances that differ. The penalty has
    the least held-out log loss.

    Args:
        source: (n, d) standardised, n >= folds. target: (m, d), standardised alike, m >= folds.

    Returns:
        (n,) float64 > 0; and facts for the record.

    Raises:
        DataError: rows that are not finite, shapes that do not fit, or fewer rows than folds.

    Reference:
        Bickel, Brückner & Scheffer 2009, Discriminative learning under covariate shift.
    """
    facts: dict[str, Any] = {}
    rows = prepared(source, target, seed, least=config.folds)
    odds = log_odds(rows, config, facts)
    odds = odds + math.log(len(rows.source) / len(rows.target))
    # Weights are relative, and far from the target's rows an exponential would leave float64.
    return rows.restored((odds - (odds.max() - LARGEST).clamp_min(0)).exp()), facts
