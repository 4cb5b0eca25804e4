"""Validators that estimate the model's risk on target rows from losses on labelled source rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tl_research.evaluation.rules import register_rule
from tl_research.evaluation.validators.rows import finite_matrix, some_rows

if TYPE_CHECKING:
    from torch import Tensor

# scikit-learn is imported where it is used: whoever reads a record asks for the names of rules alone.


def density_ratio(
    source_features: Tensor, target_features: Tensor, at: Tensor, *, max_rows: int = 2000, seed: int = 0
) -> np.ndarray:
    """Estimate p_target(f) / p_source(f) at given features with a domain classifier.

    w(f) = n_s / n_t · p(target | f) / p(source | f), where p is a logistic regression (L2, C = 1) on features
    standardised over the n_s + n_t rows it is fitted to. It is exact in form where log p_target/p_source is
    linear in the features, and an approximation elsewhere. Widely separated domains make weights so large that
    float64 overflows to infinity; the risks below then have no value.

    Args:
        source_features: (n, d) float, source rows that the model was trained on.
        target_features: (m, d) float.
        at: (k, d) float, where the ratio is wanted.
        max_rows: at most this many rows of each side are drawn to fit the classifier.
        seed: of that draw.

    Returns:
        (k,) float64 weights.

    Raises:
        ValueError: no rows, widths that differ, or a feature that is not finite.

    Reference:
        Bickel et al. 2007, ICML; You et al. 2019, ICML, section 4.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(seed)
    source = some_rows(finite_matrix("source_features", source_features), max_rows, rng)
    target = some_rows(finite_matrix("target_features", target_features), max_rows, rng)
    at = finite_matrix("at", at)
    if not source.shape[1] == target.shape[1] == at.shape[1]:
        raise ValueError(f"features of unequal width: {source.shape[1]}, {target.shape[1]} and {at.shape[1]}")
    scaler = StandardScaler()
    rows = scaler.fit_transform(np.concatenate([source, target]))
    is_target = np.repeat([0, 1], [len(source), len(target)])
    with warnings.catch_warnings():
        # a classifier that was stopped early is only a slightly stronger regularised one
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier = LogisticRegression(max_iter=100).fit(rows, is_target)
    log_odds = classifier.decision_function(scaler.transform(at))
    with np.errstate(over="ignore"):
        return len(source) / len(target) * np.exp(log_odds)


def importance_weighted_risk(val_loss: np.ndarray, weight: np.ndarray) -> float:
    """mean(w · loss), the estimate of the target risk from source rows (Sugiyama et al. 2007, JMLR 8)."""
    return float(np.mean(weight * val_loss))


def control_variate_risk(val_loss: np.ndarray, weight: np.ndarray) -> float:
    """mean(L) + η mean(W) - η with L = w · loss, W = w and η = -Cov(L, W) / Var(W).

    W has mean 1 in expectation, so that η removes variance from the importance-weighted risk and adds no bias
    but that of estimating η, O(1/n). Where the weights are constant η is 0.

    Reference:
        You et al. 2019, ICML, algorithm 1.
    """
    weighted = weight * val_loss
    if len(weight) < 2 or np.ptp(weight) <= 1e-12 * np.abs(weight).max():
        return float(np.mean(weighted))
    covariance = np.cov(weighted, weight)
    eta = -covariance[0, 1] / covariance[1, 1]
    return float(np.mean(weighted) + eta * np.mean(weight) - eta)


@register_rule("dev", reads=("source_val/losses", "source_val/density_ratio"))
def deep_embedded_validation(val_loss: Tensor, weight: np.ndarray) -> float | None:
    """Negative of the target risk that DEV estimates from labelled source rows (`control_variate_risk`).

    Args:
        val_loss: (n,) float, the model's loss on source rows held out from training.
        weight: (n,) `density_ratio` at the features of these rows.

    Returns:
        -risk, or None where the density ratio is too large for the risk to be a finite number.

    Raises:
        ValueError: no rows, shapes that do not fit, or a loss that is not finite.

    Reference:
        You et al. 2019, ICML, algorithm 1.
    """
    return _negative_risk(control_variate_risk, val_loss, weight)


@register_rule("iwcv", reads=("source_val/losses", "source_val/density_ratio"))
def importance_weighted_validation(val_loss: Tensor, weight: np.ndarray) -> float | None:
    """Negative importance-weighted source risk (IWCV); arguments as of `deep_embedded_validation`.

    Reference:
        Sugiyama et al. 2007, JMLR 8.
    """
    return _negative_risk(importance_weighted_risk, val_loss, weight)


def _negative_risk(risk: Callable[..., float], val_loss: Tensor, weight: np.ndarray) -> float | None:
    loss = finite_matrix("val_loss", val_loss[:, None])[:, 0]
    if len(loss) != len(weight):
        raise ValueError(f"val_loss: got {len(loss)} values for {len(weight)} weights")
    with np.errstate(over="ignore", invalid="ignore"):
        value = risk(loss, weight)
    return -value if np.isfinite(value) else None
