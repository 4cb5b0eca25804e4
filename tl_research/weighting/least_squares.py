"""Least-squares fits of a density ratio: the closed form that uLSIF and RuLSIF share."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.weighting.basis import Basis, folds, gaussian


def coefficients(second_moment: Tensor, first_moment: Tensor, ridge: float) -> Tensor:
    """alpha = (H + lambda I)^-1 h, which minimises ½ alpha'H alpha - h'alpha + ½ lambda ||alpha||²."""
    system = second_moment + ridge * torch.eye(len(second_moment), dtype=torch.float64, device=second_moment.device)
    return torch.linalg.solve(system, first_moment)


def moments(source: Tensor, target: Tensor, mixture: float) -> tuple[Tensor, Tensor]:
    """H = mixture · mean_target φφ' + (1 - mixture) · mean_source φφ' (l, l), and h = mean_target φ (l,)."""
    second = (1 - mixture) * (source.T @ source) / len(source)
    if mixture:
        second = second + mixture * (target.T @ target) / len(target)
    return second, target.mean(dim=0)


def leave_one_out_score(source: Tensor, target: Tensor, ridge: float, pairs: int) -> float:
    """uLSIF's leave-one-out criterion in closed form: mean_i ½ w_i(x_i)² - w_i(z_i).

    w_i is fitted, coefficients cut off at 0, to all rows but the i-th of both domains:
    (H_i + lambda I)^-1 = (n-1)/n (B - φφ'/n)^-1 with B = H + lambda (n-1)/n I, a rank-one change of one inverse.

    Args:
        source: (n, l) φ of the source rows, n >= 2. target: (m, l), m >= 2.
        pairs: over how many i the mean goes, at most min(n, m).

    Reference:
        Kanamori, Hido & Sugiyama 2009, JMLR 10, section 3.3 and appendix B.
    """
    n, m = len(source), len(target)
    second, first = moments(source, target, 0.0)
    system = second + ridge * (n - 1) / n * torch.eye(len(second), dtype=torch.float64, device=second.device)
    factor = torch.linalg.cholesky(system)
    phi, psi = source[:pairs].T, target[:pairs].T
    left_out = (m * first[:, None] - psi) / (m - 1)
    solved, solved_phi = torch.cholesky_solve(left_out, factor), torch.cholesky_solve(phi, factor)
    change = (phi * solved).sum(dim=0) / (n - (phi * solved_phi).sum(dim=0))
    alpha = ((n - 1) / n * (solved + solved_phi * change)).clamp_min(0)
    return float((0.5 * (phi * alpha).sum(dim=0).square() - (psi * alpha).sum(dim=0)).mean())


def k_fold_score(source: Tensor, target: Tensor, ridge: float, mixture: float, count: int) -> float:
    """RuLSIF's criterion on held-out rows, mean over folds: mean ½ (mixture w(z)² + (1-mixture) w(x)²) - mean w(z)."""
    total = 0.0
    for (held_x, others_x), (held_z, others_z) in zip(folds(len(source), count), folds(len(target), count)):
        alpha = coefficients(*moments(source[others_x], target[others_z], mixture), ridge)
        second, first = moments(source[held_x], target[held_z], mixture)
        total += float(0.5 * alpha @ second @ alpha - first @ alpha)
    return total / count


def best_candidate(basis: Basis, ridges: list[float], rows: int, score) -> tuple[float, float, float]:
    """The (sigma, lambda) of least score and that score; `score(source φ, target φ, lambda)` on the first `rows`."""
    tried = []
    for sigma in basis.sigmas:
        source, target = gaussian(basis.source[:rows], sigma), gaussian(basis.target[:rows], sigma)
        tried += [(score(source, target, ridge), sigma, ridge) for ridge in ridges]
    value, sigma, ridge = min(tried)
    return sigma, ridge, value
