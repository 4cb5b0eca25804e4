"""Unconstrained least-squares importance fitting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tl_research.config import all_above
from tl_research.registry import register_weighting
from tl_research.weighting.basis import Basis, BasisConfig, gaussian
from tl_research.weighting.least_squares import best_candidate, coefficients, leave_one_out_scores, moments
from tl_research.weighting.prepared import prepared


@dataclass
class ULSIFConfig(BasisConfig):
    """Options of uLSIF."""

    name: str = "ulsif"
    ridge: list[float] = all_above(0, default=[1e-3, 1e-2, 1e-1, 1.0, 10.0])  # candidates for lambda


@register_weighting("ulsif", config=ULSIFConfig, paper="Kanamori et al. 2009, JMLR 10, eq. 11", gain=0.08)
def ulsif(
    source: Tensor, target: Tensor, config: ULSIFConfig, *, label: Tensor | None = None, seed: int
) -> tuple[Tensor, dict[str, Any]]:
    """Unconstrained least-squares importance fitting: w nearest to the density ratio in squares, in closed form.

    w(x) = Σ_l alpha_l k(x, c_l),   alpha = max(0, (H + lambda I)^-1 h),
    H = mean_source φ(x) φ(x)',   h = mean_target φ(z),   φ_l = k(·, c_l).

    sigma and lambda have the least leave-one-out score, in closed form as well; where the rows are more than
    `cv_rows`, that many are looked at for the choice and all of them for alpha.

    Args:
        source: (n, d) standardised, n >= 2. target: (m, d), standardised alike, m >= 2.

    Returns:
        (n,) float64 >= 0; and facts for the record.

    Raises:
        DataError: rows that are not finite, shapes that do not fit, or one row on a side.

    Reference:
        Kanamori, Hido & Sugiyama 2009, A least-squares approach to direct importance estimation.
    """
    facts: dict[str, Any] = {}
    rows = prepared(source, target, seed, least=2)
    basis = Basis(rows.source, rows.target, config)
    sigma, ridge = basis.sigmas[0], config.ridge[0]
    if len(config.widths) * len(config.ridge) > 1:
        pairs = min(config.cv_rows, len(rows.source), len(rows.target))
        sigma, ridge, score = best_candidate(
            basis, config.ridge, config.cv_rows, lambda s, t, ridges: leave_one_out_scores(s, t, ridges, pairs)
        )
        facts.update(cv_score=score, cv_rows=pairs)
    facts.update(bandwidth=sigma, ridge=ridge, centres=basis.target.shape[1])
    source_phi, target_phi = gaussian(basis.source, sigma), gaussian(basis.target, sigma)
    alpha = coefficients(*moments(source_phi, target_phi, 0.0), ridge).clamp_min(0)
    return rows.restored(source_phi @ alpha), facts
