"""Empirical Bayes for the parameters of related entities: w_e ~ N(m, diag T), with m, T and the noise estimated."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

#: Most rounds of the estimation, and the relative change of spread and noise at which it ends.
MOST_ROUNDS, TOLERANCE = 500, 1e-4
#: A spread below this share of the mean spread counts as none.
SMALL = 1e-3
#: Smallest spread, and a share that counts as rounding.
FLOOR, ROUNDING = 1e-12, 1e-10


class Entities(NamedTuple):
    """What rows say of the parameters of each of E entities: exp(w'b - w'Aw / 2), up to a factor.

    Fields:
        gram: A (E, p, p) float64, symmetric, without the noise: X'X of least squares.
        moment: b (E, p): X'y.
        squares: Σ y² of all entities' rows, where the noise is to be estimated; None: it is 1.
        rows: number of all entities' rows.
    """

    gram: Tensor
    moment: Tensor
    squares: float | None = None
    rows: float = 0.0


class Prior(NamedTuple):
    """The prior that the entities share.

    Fields:
        mean: m (p,). spread: diagonal of T (p,), variances. noise: variance of a label around its entity's prediction.
        rounds: of the estimation.
    """

    mean: Tensor
    spread: Tensor
    noise: float
    rounds: int


def estimate_prior(entities: Entities, spread: Tensor | None = None) -> Prior:
    """Estimate m, T and the noise s² by their restricted likelihood: m has a flat prior and is integrated out.

    With A = gram / s², b = moment / s² and P_e = (I + A_e T)^-1 A_e, one round is

        C = (Σ_e P_e)^-1,  m = C Σ_e (I + A_e T)^-1 b_e,  q_e = (I + A_e T)^-1 (b_e - A_e m)
        T_j ← T_j sqrt(Σ_e q_ej² / Σ_e (P_e - P_e C P_e)_jj)
        s² ← s² sqrt(Σ_e ||y_e - X_e w_e||² / s² / (rows - Σ_e tr(A_e Cov w_e))),  w_e = m + T q_e

    No round lowers the likelihood, and nothing divides by T: 0 is a limit and no error. With one entity there is
    nothing to tell T by, and it stays at its start.

    Args:
        entities: of E >= 1.
        spread: T (p,) to start from; None: 1.

    Reference:
        Laird & Ware 1982, Biometrics 38(4), section 4 (the model); Zhou, Hu, Qiao & Zhou 2019, Journal of
        Computational and Graphical Statistics 28(2), algorithm 1 (the rounds).
    """
    spread = torch.ones_like(entities.moment[0]) if spread is None else spread
    noise, rounds, is_done = 1.0, 0, False
    while not is_done and rounds < MOST_ROUNDS:
        found, found_noise = _round(entities, spread, noise)
        moved = (found - spread).abs() <= TOLERANCE * (spread + SMALL * spread.mean())
        is_done = bool(moved.all()) and abs(found_noise - noise) <= TOLERANCE * noise
        spread, noise, rounds = found, found_noise, rounds + 1
    return Prior(_around(entities, spread, noise).mean, spread, noise, rounds)


def posterior_means(gram: Tensor, moment: Tensor, prior: Prior) -> Tensor:
    """Return w_e = m + T (I + A_e T)^-1 (b_e - A_e m) (E, p), with A_e = gram / s² and b_e = moment / s².

    It is the minimum of s² (w - m)' T^-1 (w - m) + w' gram w - 2 w' moment.
    """
    a, b = gram / prior.noise, moment / prior.noise
    one = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    left = (b - a @ prior.mean)[..., None]
    return prior.mean + prior.spread * torch.linalg.solve(one + a * prior.spread, left)[..., 0]


class _Around(NamedTuple):
    """A (E, p, p), (I + A T)^-1, P (E, p, p), m (p,), its covariance C (p, p), and q (E, p)."""

    a: Tensor
    inverse: Tensor
    precision: Tensor
    mean: Tensor
    covariance: Tensor
    pull: Tensor


def _around(entities: Entities, spread: Tensor, noise: float) -> _Around:
    a, b = entities.gram / noise, entities.moment / noise
    one = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    inverse = torch.linalg.inv(one + a * spread)
    precision = inverse @ a
    # A direction that no entity tells anything of has an infinite variance: pinv leaves it at 0.
    covariance = torch.linalg.pinv(precision.sum(0), hermitian=True)
    mean = covariance @ (inverse @ b[..., None]).sum(0)[:, 0]
    return _Around(a, inverse, precision, mean, covariance, (inverse @ (b - a @ mean)[..., None])[..., 0])


def _round(entities: Entities, spread: Tensor, noise: float) -> tuple[Tensor, float]:
    """Return T and s² after one round."""
    a, inverse, precision, mean, covariance, pull = _around(entities, spread, noise)
    informed = precision.diagonal(dim1=1, dim2=2).sum(0)
    expected = informed - (precision @ covariance @ precision.mT).diagonal(dim1=1, dim2=2).sum(0)
    grows = torch.where(expected > ROUNDING * informed, pull.square().sum(0) / expected, 1).sqrt()
    found = (spread * grows).clamp_min(FLOOR)
    if entities.squares is None:
        return found, noise
    w = mean + spread * pull
    of_w = spread[:, None] * inverse + inverse.mT @ covariance @ inverse
    left = entities.squares - 2 * (w * entities.moment).sum() + torch.einsum("ei,eij,ej->", w, entities.gram, w)
    free = entities.rows - (a * of_w).sum()
    return found, noise * max(float(left / noise / free), FLOOR) ** 0.5
