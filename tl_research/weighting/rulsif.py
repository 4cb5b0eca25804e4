"""Relative unconstrained least-squares importance fitting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tl_research.config import all_above, at_least, share
from tl_research.registry import register_weighting
from tl_research.weighting.basis import Basis, BasisConfig, gaussian
from tl_research.weighting.least_squares import best_candidate, coefficients, k_fold_scores, moments
from tl_research.weighting.prepared import prepared


@dataclass
class RULSIFConfig(BasisConfig):
    """Options of RuLSIF."""

    name: str = "rulsif"
    # Share of the target in the denominator; 0 is the plain ratio, and 1 / alpha the most it gets.
    alpha: float = share(one=False, default=0.1)
    ridge: list[float] = all_above(0, default=[1e-3, 1e-2, 1e-1, 1.0, 10.0])  # candidates for lambda
    folds: int = at_least(2, default=5)  # of both domains, for the choice of sigma and lambda


@register_weighting(
    "rulsif", config=RULSIFConfig, paper="Yamada et al. 2013, Neural Computation 25(5), eq. 3 to 5", gain=0.09
)
def rulsif(
    source: Tensor, target: Tensor, config: RULSIFConfig, *, label: Tensor | None = None, seed: int
) -> tuple[Tensor, dict[str, Any]]:
    """Relative least-squares importance fitting: the bounded ratio p_T / (alpha p_T + (1 - alpha) p_S).

    w(x) = max(0, Σ_l theta_l k(x, c_l)),   theta = (H + lambda I)^-1 h,   h = mean_target φ(z),
    H = alpha mean_target φ(z) φ(z)' + (1 - alpha) mean_source φ(x) φ(x)',   φ_l = k(·, c_l).

    sigma and lambda have the least k-fold score; where the rows are more than `cv_rows`, that many are looked at for
    the choice and all of them for theta.

    Args:
        source: (n, d) standardised, n >= folds. target: (m, d), standardised alike, m >= folds.

    Returns:
        (n,) float64 >= 0; and facts for the record.

    Raises:
        DataError: rows that are not finite, shapes that do not fit, or fewer rows than folds.

    Reference:
        Yamada, Suzuki, Kanamori, Hachiya & Sugiyama 2013, Relative density-ratio estimation.
    """
    choose = len(config.widths) * len(config.ridge) > 1
    facts: dict[str, Any] = {}
    rows = prepared(source, target, seed, least=config.folds if choose else 1)
    basis = Basis(rows.source, rows.target, config)
    sigma, ridge = basis.sigmas[0], config.ridge[0]
    if choose:

        def scores(s: Tensor, t: Tensor, ridges: list[float]) -> list[float]:
            return k_fold_scores(s, t, ridges, config.alpha, config.folds)

        sigma, ridge, value = best_candidate(basis, config.ridge, config.cv_rows, scores)
        facts.update(cv_score=value, cv_rows=min(config.cv_rows, max(len(rows.source), len(rows.target))))
    facts.update(bandwidth=sigma, ridge=ridge, centres=basis.target.shape[1])
    source_phi, target_phi = gaussian(basis.source, sigma), gaussian(basis.target, sigma)
    theta = coefficients(*moments(source_phi, target_phi, config.alpha), ridge)
    return rows.restored((source_phi @ theta).clamp_min(0)), facts
