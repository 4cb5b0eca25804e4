"""Kullback-Leibler importance estimation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tl_research.config import above, at_least
from tl_research.registry import register_weighting
from tl_research.weighting.basis import Basis, BasisConfig, folds
from tl_research.weighting.prepared import prepared

#: Newton steps of the interior-point method; 15 to 40 are usual.
MAX_STEPS = 200


@dataclass
class KLIEPConfig(BasisConfig):
    """Options of KLIEP."""

    name: str = "kliep"
    folds: int = at_least(2, default=5)  # of the target rows, for the likelihood cross-validation of sigma
    tolerance: float = above(0, default=1e-6)  # of the mean log weight of the target rows


@register_weighting("kliep", config=KLIEPConfig, paper="Sugiyama et al. 2008, NeurIPS, eq. 8 to 10", gain=0.08)
def kliep(
    source: Tensor, target: Tensor, config: KLIEPConfig, *, label: Tensor | None = None, seed: int
) -> tuple[Tensor, dict[str, Any]]:
    """Kullback-Leibler importance estimation: the weighted source is the likeliest explanation of the target rows.

    max_alpha  mean_target log w(z),   w(x) = Σ_l alpha_l k(x, c_l),   alpha >= 0,   mean_source w(x) = 1.

    With pi_l = alpha_l mean_source k(x, c_l) the constraint is Σ pi = 1, so that w is a mixture of the known
    k(x, c_l) / mean_source k(x, c_l) and pi its proportions: a convex problem, solved by a primal-dual interior
    point. Kernels are kept as logarithms, so that no width underflows. sigma is chosen by likelihood
    cross-validation over the target rows; where they are more than `cv_rows`, over that many of them.

    Args:
        source: (n, d) standardised. target: (m, d), standardised alike; m >= folds.

    Returns:
        (n,) float64 weights, mean 1; and facts for the record.

    Raises:
        DataError: rows that are not finite, shapes that do not fit, or fewer target rows than folds.

    Reference:
        Sugiyama, Nakajima, Kashima, von Bünau & Kawanabe 2008, Direct importance estimation with model selection.
    """
    choose = len(config.widths) > 1
    facts: dict[str, Any] = {}
    rows = prepared(source, target, seed, least=config.folds if choose else 1)
    basis = Basis(rows.source, rows.target, config)
    sigma, score = basis.sigmas[0], None
    if choose:
        scores = [_cross_validated(basis, width, config) for width in basis.sigmas]
        score = max(scores)
        sigma = basis.sigmas[scores.index(score)]
        facts.update(cv_log_weight=score, cv_rows=min(config.cv_rows, len(rows.target)))
    log_target, log_source = _log_mixture(basis, sigma, basis.target), _log_mixture(basis, sigma, basis.source)
    proportion, steps, gap = mixture_proportions(log_target, tolerance=config.tolerance)
    facts.update(bandwidth=sigma, centres=log_target.shape[1], steps=steps, gap=gap, converged=gap <= config.tolerance)
    if gap > config.tolerance:
        facts["warning"] = f"kliep stopped after {steps} steps, mean log weight {gap:.3g} below its most"
    weight = log_source.exp() @ proportion
    return rows.restored(weight / weight.mean()), facts


def _cross_validated(basis: Basis, sigma: float, config: KLIEPConfig) -> float:
    log_target = _log_mixture(basis, sigma, basis.target[: config.cv_rows])
    total = 0.0
    for held, others in folds(len(log_target), config.folds):
        # Three digits are enough to choose by.
        proportion, _, _ = mixture_proportions(log_target[others.to(log_target.device)], tolerance=1e-3)
        total += float(torch.logsumexp(log_target[held] + proportion.log(), dim=1).sum())
    return total / len(log_target)


def _log_mixture(basis: Basis, sigma: float, squared: Tensor) -> Tensor:
    scale = -1 / (2 * sigma**2)
    log_mean = torch.logsumexp(basis.source * scale, dim=0) - torch.tensor(len(basis.source)).log().item()
    return squared * scale - log_mean


def mixture_proportions(log_density: Tensor, *, tolerance: float) -> tuple[Tensor, int, float]:
    """The likeliest proportions of known densities: max mean_i log Σ_l pi_l p_l(z_i), pi >= 0, Σ pi = 1.

    Without the sum constraint, min Σ pi - mean log(A pi) over pi >= 0 has the same solution; its complementarity
    conditions pi_l g_l = mu with g = 1 - A'(1 / A pi) / m are followed to mu = 0 by Newton steps.

    Args:
        log_density: (m, l) log p_l(z_i).
        tolerance: of the mean log-likelihood.

    Returns:
        pi (l,), the steps taken, and how far at most the mean log-likelihood is below its largest value, which is
        log max_l mean_i p_l(z_i) / Σ_l pi_l p_l(z_i).
    """
    density = (log_density - log_density.amax(dim=1, keepdim=True)).exp()  # a factor per row moves no solution
    m, count = density.shape
    pi = torch.full((count,), 1 / count, dtype=density.dtype, device=density.device)
    slack = torch.ones_like(pi)
    best, best_gap, step = pi, float("inf"), 0
    for step in range(MAX_STEPS + 1):
        share = density / (density @ pi)[:, None]
        mean_share = share.mean(dim=0)
        gap = float((mean_share.max() * pi.sum()).log())
        if gap < best_gap:
            best, best_gap = pi / pi.sum(), gap
        if gap <= tolerance or step == MAX_STEPS:
            break
        centre = 0.1 * float(pi @ slack) / count
        hessian = share.T @ share / m
        hessian.diagonal().add_(slack / pi)
        move = torch.linalg.solve(hessian, mean_share - 1 + centre / pi)
        slack_move = centre / pi - slack - slack / pi * move
        pi = pi + _longest(pi, move) * move
        slack = slack + _longest(slack, slack_move) * slack_move
    return best, step, max(best_gap, 0.0)


def _longest(point: Tensor, move: Tensor) -> Tensor:
    """The step, at most 1, that goes 0.99 of the way to the first bound."""
    room = torch.where(move < 0, -point / move, torch.inf).amin()
    return (0.99 * room).clamp_max(1.0)
