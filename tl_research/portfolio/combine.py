"""From cross-fitted outputs to one answer: each part calibrated, then a convex combination of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp

#: Least probability that a part is believed to give a class.
LEAST = 1e-6
#: Rows that say "believe the part as it is", against which a calibration has to prove itself.
PRIOR_ROWS = 10.0
#: Rows that vote for equal weights: few labels cannot tell parts apart that many can.
EQUAL_ROWS = 30.0
#: Bootstrap samples over which the weights are averaged, and steps of each fit.
SAMPLES, STEPS = 40, 100


class Calibration(NamedTuple):
    """Of classes, log p = log_softmax(slope · z + bias), z a part's log probabilities; of numbers, slope · z + bias.

    Fields:
        slope: above 0.
        bias: (classes,), or (1,).
    """

    slope: float
    bias: np.ndarray

    def of(self, said: np.ndarray, *, is_class: bool) -> np.ndarray:
        """Return calibrated outputs, of the shape of `said`."""
        moved = self.slope * (_floored(said) if is_class else said) + self.bias
        return log_softmax(moved, axis=1) if is_class else moved


def _floored(logp: np.ndarray) -> np.ndarray:
    return np.maximum(log_softmax(logp, axis=1), np.log(LEAST))


def row_losses(said: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return (n,) -log p of the label, or half the squared error for a number."""
    if label.dtype.kind == "f":
        return 0.5 * (said[:, 0] - label) ** 2
    return -np.take_along_axis(said, label[:, None], axis=1)[:, 0]


def calibrate(said: np.ndarray, label: np.ndarray) -> Calibration:
    """Fit slope and bias to rows that the part has not seen, held to (1, 0).

    min Σ_i loss_i + PRIOR_ROWS / 2 · (log² slope + |bias|²).

    Args:
        said: (n, classes) log probabilities, or (n, 1) numbers.
        label: (n,) classes or numbers.

    Reference:
        Platt 1999 (two classes); Guo et al. 2017, ICML, section 4.2 (several).
    """
    is_class = label.dtype.kind != "f"
    z = _floored(said) if is_class else said
    one_hot = np.eye(said.shape[1])[label] if is_class else None

    def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
        slope, bias = np.exp(point[0]), point[1:]
        moved = slope * z + bias
        if is_class:
            logp = log_softmax(moved, axis=1)
            loss, gap = -logp[one_hot == 1].sum(), np.exp(logp) - one_hot
        else:
            gap = moved - label[:, None]
            loss = 0.5 * (gap**2).sum()
        gradient = np.concatenate([[slope * (gap * z).sum()], gap.sum(axis=0)])
        return loss + PRIOR_ROWS / 2 * (point**2).sum(), gradient + PRIOR_ROWS * point

    bounds = [(-4, 2)] + [(None, None)] * said.shape[1]
    found = minimize(objective, np.zeros(len(bounds)), jac=True, method="L-BFGS-B", bounds=bounds)
    return Calibration(float(np.exp(found.x[0])), found.x[1:])


def convex_weights(
    said: np.ndarray, label: np.ndarray, count: np.ndarray, *, equal_rows: float = EQUAL_ROWS, steps: int = STEPS
) -> np.ndarray:
    """Return (parts,) weights on the simplex that lower the loss of the combination, begun at equal ones.

    Of classes the maximum a posteriori of the mixture Σ_k w_k p_k by expectation maximisation, with a Dirichlet prior
    of `equal_rows` rows shared equally. Of numbers the least squares of Σ_k w_k z_k by exponentiated gradient steps,
    then (n w + equal_rows / parts) / (n + equal_rows).

    Args:
        said: (parts, n, outputs) calibrated outputs.
        label: (n,).
        count: (n,) how often each row counts.
        equal_rows: rows of the prior.
        steps: of the fit.

    Reference:
        van der Laan, Polley & Hubbard 2007, Statistical Applications in Genetics 6(1), article 25; Dempster, Laird &
        Rubin 1977, JRSS B 39(1), section 4.3 (mixtures).
    """
    parts, rows = len(said), count.sum()
    equal = np.full(parts, 1 / parts)
    w = equal
    if label.dtype.kind != "f":
        p = np.exp(np.take_along_axis(said, label[None, :, None], axis=2)[:, :, 0])
        for _ in range(steps):
            w = (w * ((p / (w @ p)) @ count) + equal_rows * equal) / (rows + equal_rows)
        return w / w.sum()
    z, share = said[:, :, 0], count / rows
    spread = (z - label) ** 2 @ share
    rate = 1.0 / max(1e-12, spread.mean())
    for _ in range(steps):
        gradient = z @ (share * (w @ z - label))
        w = w * np.exp(-rate * (gradient - gradient.min()))
        w = w / w.sum()
    return (rows * w + equal_rows * equal) / (rows + equal_rows)


class Weights(NamedTuple):
    """Weights of the parts, and what rows outside the samples say of them.

    Fields:
        weight: (parts,) on the simplex, the mean of `convex_weights` over bootstrap samples of the rows: what few rows
            cannot tell is shared out.
        loss: (n,) each row's mean loss over the samples that it is not in, nan for a row that is in all.
    """

    weight: np.ndarray
    loss: np.ndarray


def bagged_weights(said: np.ndarray, label: np.ndarray, *, seed: int) -> Weights:
    """Return the weights of calibrated outputs (parts, n, outputs); the samples depend on `seed` and n alone."""
    random, n = np.random.default_rng(seed), len(label)
    is_class = label.dtype.kind != "f"
    weights, losses, outside = np.zeros(len(said)), np.zeros(n), np.zeros(n)
    for _ in range(SAMPLES):
        draw = random.multinomial(n, np.full(n, 1 / n)).astype(float)
        weight = convex_weights(said, label, draw)
        weights += weight / SAMPLES
        left = draw == 0
        losses[left] += row_losses(combined(said[:, left], weight, is_class=is_class), label[left])
        outside += left
    return Weights(weights, np.divide(losses, outside, out=np.full(n, np.nan), where=outside > 0))


def combined(said: np.ndarray, weight: np.ndarray, *, is_class: bool) -> np.ndarray:
    """Return log Σ_k w_k p_k, or Σ_k w_k z_k, of outputs (parts, n, outputs)."""
    if is_class:
        with np.errstate(divide="ignore"):
            return logsumexp(said + np.log(weight)[:, None, None], axis=0)
    return np.tensordot(weight, said, axes=1)


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
