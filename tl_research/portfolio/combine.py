"""From cross-fitted outputs to one answer: each part calibrated, then a convex combination of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import softmax

from tl_research.portfolio.mixtures import Mixture

#: Rows that say "believe the part as it is", against which a calibration has to prove itself.
PRIOR_ROWS = 10.0
#: Rows that vote for the prior weights: few labels cannot tell parts apart that many can.
WEIGHT_ROWS = 30.0
#: Bootstrap samples over which the weights are averaged, and steps of each fit.
SAMPLES, STEPS = 40, 100


class Calibration(NamedTuple):
    """How a part's outputs are moved; see `Mixture.calibrated`.

    Fields:
        slope: above 0.
        bias: (outputs,).
    """

    slope: float
    bias: np.ndarray


def calibrate(mixture: Mixture, said: np.ndarray, label: np.ndarray) -> Calibration:
    """Fit slope and bias to rows that the part has not seen, held to (1, 0).

    min Σ_i loss_i + PRIOR_ROWS / 2 · (log² slope + |bias|²).

    Args:
        mixture: of the outcome.
        said: (n, outputs) of the part.
        label: (n,).

    Reference:
        Platt 1999 (two classes); Guo et al. 2017, ICML, section 4.2 (several).
    """

    def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = mixture.slopes(said, float(np.exp(point[0])), point[1:], label)
        return loss + PRIOR_ROWS / 2 * (point**2).sum(), gradient + PRIOR_ROWS * point

    bounds = [(-4, 2)] + [(None, None)] * said.shape[1]
    found = minimize(objective, np.zeros(len(bounds)), jac=True, method="L-BFGS-B", bounds=bounds)
    return Calibration(float(np.exp(found.x[0])), found.x[1:])


class Weights(NamedTuple):
    """Weights of the parts, and what rows outside the samples say of them.

    Fields:
        weight: (parts,) on the simplex, the mean of `Mixture.weights` over bootstrap samples of the rows: what few rows
            cannot tell is shared out.
        loss: (n,) each row's mean loss over the samples that it is not in, nan for a row that is in all.
    """

    weight: np.ndarray
    loss: np.ndarray


def bagged_weights(mixture: Mixture, said: np.ndarray, label: np.ndarray, *, seed: int) -> Weights:
    """Return the weights of calibrated outputs (parts, n, outputs); the samples depend on `seed` and n alone.

    In each sample they are held to a prior, p_k ∝ exp(ℓ_k / temper), ℓ_k the log likelihood of the sample's labels by
    part k alone: parts that are clearly worse are not heard as loudly as others because labels are few.

    Reference:
        van der Laan, Polley & Hubbard 2007, Statistical Applications in Genetics 6(1), article 25 (super learner).
    """
    random, n = np.random.default_rng(seed), len(label)
    weights, losses, outside = np.zeros(len(said)), np.zeros(n), np.zeros(n)
    of_parts = np.stack([mixture.row_losses(one, label) for one in said])
    for _ in range(SAMPLES):
        draw = random.multinomial(n, np.full(n, 1 / n)).astype(float)
        prior = softmax(mixture.log_likelihood(of_parts, draw) / mixture.temper)
        weight = mixture.weights(said, label, draw, prior=prior, prior_rows=WEIGHT_ROWS, steps=STEPS)
        weights += weight / SAMPLES
        left = draw == 0
        losses[left] += mixture.row_losses(mixture.combined(said[:, left], weight), label[left])
        outside += left
    return Weights(weights, np.divide(losses, outside, out=np.full(n, np.nan), where=outside > 0))


class Gain(NamedTuple):
    """How much lower the loss of one combination is than that of another, on rows outside the samples of both.

    Fields:
        mean: of the rows' differences.
        error: its standard error.
    """

    mean: float
    error: float


def gain(one: Weights, other: Weights) -> Gain:
    """Return the gain of `one` over `other`, row by row."""
    difference = (other.loss - one.loss)[~np.isnan(other.loss - one.loss)]
    error = difference.std(ddof=1) / np.sqrt(len(difference)) if len(difference) > 1 else float("inf")
    return Gain(float(difference.mean()) if len(difference) else 0.0, float(error))
