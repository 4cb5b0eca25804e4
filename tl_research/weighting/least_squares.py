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


def leave_one_out_scores(source: Tensor, target: Tensor, ridges: list[float], pairs: int) -> list[float]:
    """uLSIF's leave-one-out criterion for each lambda, in closed form: mean_i ½ w_i(x_i)² - w_i(z_i).

    w_i is fitted, coefficients cut off at 0, to all rows but the i-th of both domains:
    (H_i + lambda I)^-1 = (n-1)/n (B - φφ'/n)^-1 with B = H + lambda (n-1)/n I, a rank-one change of B^-1, which one
    eigendecomposition of H gives for every lambda.

    Args:
        source: (n, l) φ of the source rows, n >= 2. target: (m, l), m >= 2.
        ridges: the values of lambda.
        pairs: over how many i the mean goes, at most min(n, m).

    Reference:
        Kanamori, Hido & Sugiyama 2009, JMLR 10, section 3.3 and appendix B.
    """
    n, m = len(source), len(target)
    second, first = moments(source, target, 0.0)
    values, vectors = torch.linalg.eigh(second)
    phi, psi = source[:pairs].T, target[:pairs].T
    turned_phi = vectors.T @ phi
    turned_left_out = (m * (vectors.T @ first)[:, None] - vectors.T @ psi) / (m - 1)
    scores = []
    for ridge in ridges:
        inverse = 1 / (values + ridge * (n - 1) / n)[:, None]
        solved, solved_phi = inverse * turned_left_out, inverse * turned_phi
        change = (turned_phi * solved).sum(dim=0) / (n - (turned_phi * solved_phi).sum(dim=0))
        alpha = ((n - 1) / n * (vectors @ (solved + solved_phi * change))).clamp_min(0)
        scores.append(float((0.5 * (phi * alpha).sum(dim=0).square() - (psi * alpha).sum(dim=0)).mean()))
    return scores


def k_fold_scores(source: Tensor, target: Tensor, ridges: list[float], mixture: float, count: int) -> list[float]:
    """RuLSIF's criterion for each lambda on held-out rows, mean over folds.

    mean ½ (mixture w(z)² + (1 - mixture) w(x)²) - mean w(z).
    """
    totals = [0.0] * len(ridges)
    for (held_x, others_x), (held_z, others_z) in zip(folds(len(source), count), folds(len(target), count)):
        seen = moments(source[others_x], target[others_z], mixture)
        second, first = moments(source[held_x], target[held_z], mixture)
        for place, ridge in enumerate(ridges):
            alpha = coefficients(*seen, ridge)
            totals[place] += float(0.5 * alpha @ second @ alpha - first @ alpha)
    return [total / count for total in totals]


def best_candidate(basis: Basis, ridges: list[float], rows: int, scores) -> tuple[float, float, float]:
    """The (sigma, lambda) of least score and that score; `scores(source φ, target φ, ridges)` on the first `rows`."""
    tried = []
    for sigma in basis.sigmas:
        source, target = gaussian(basis.source[:rows], sigma), gaussian(basis.target[:rows], sigma)
        tried += [(score, sigma, ridge) for score, ridge in zip(scores(source, target, ridges), ridges)]
    value, sigma, ridge = min(tried)
    return sigma, ridge, value
