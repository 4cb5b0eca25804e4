"""Unsupervised validators: selection rules that score a model without a target label. Higher is better in all."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tl_research.evaluation.rules import register_rule

if TYPE_CHECKING:
    from torch import Tensor

# torch and scikit-learn are imported where they are used: whoever reads a record asks for the names of rules alone.


@register_rule("im", reads=("target/outputs",), of=("class",))
def information_maximization(target_logits: Tensor) -> float:
    """Mutual information of target rows and their predicted classes: H(mean_i p_i) - mean_i H(p_i).

    High where predictions are confident and spread over the classes; between 0 and ln(classes).

    Args:
        target_logits: (n, classes) float.

    Returns:
        The score in nats.

    Raises:
        ValueError: no rows, a wrong shape, or a logit that is not finite.

    Reference:
        Liang et al. 2020 (SHOT), ICML, information maximisation loss; Musgrave et al. 2022,
        arXiv:2208.07360 (validator "IM").
    """
    import torch

    log_p = torch.log_softmax(torch.from_numpy(_matrix("target_logits", target_logits)), dim=1)
    mean = log_p.exp().mean(dim=0)
    entropy_of_mean = -torch.special.xlogy(mean, mean).sum()
    mean_entropy = -(log_p.exp() * log_p).sum(dim=1).mean()
    return float(entropy_of_mean - mean_entropy)


@register_rule("snd", reads=("target/outputs",), of=("class",))
def soft_neighborhood_density(
    target_logits: Tensor, *, temperature: float = 0.05, max_rows: int = 1000, seed: int = 0
) -> float | None:
    """Entropy of each target row's similarities to the other rows: dense neighbourhoods score high.

    Rows are softmax outputs scaled to unit length; P_ij = softmax_{j != i}(<f_i, f_j> / temperature), and the
    score is mean_i -Σ_j P_ij ln P_ij, at most ln(n - 1).

    Args:
        target_logits: (n, classes) float.
        temperature: of the softmax over neighbours.
        max_rows: larger sets are subsampled to this many rows, because the cost grows with n².
        seed: of the subsample.

    Returns:
        The score in nats, or None for a single row, which has no neighbour.

    Raises:
        ValueError: no rows, a wrong shape, or a logit that is not finite.

    Reference:
        Saito et al. 2021, ICCV (SND), arXiv:2108.10860.
    """
    import torch

    rows = _subsample(_matrix("target_logits", target_logits), max_rows, np.random.default_rng(seed))
    if len(rows) < 2:
        return None
    unit = torch.nn.functional.normalize(torch.softmax(torch.from_numpy(rows), dim=1), dim=1)
    similarity = (unit @ unit.T / temperature).fill_diagonal_(-torch.inf)
    p = torch.softmax(similarity, dim=1)
    return float(-torch.special.xlogy(p, p).sum(dim=1).mean())


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
    source = _subsample(_matrix("source_features", source_features), max_rows, rng)
    target = _subsample(_matrix("target_features", target_features), max_rows, rng)
    at = _matrix("at", at)
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
    loss = _matrix("val_loss", val_loss[:, None])[:, 0]
    if len(loss) != len(weight):
        raise ValueError(f"val_loss: got {len(loss)} values for {len(weight)} weights")
    with np.errstate(over="ignore", invalid="ignore"):
        value = risk(loss, weight)
    return -value if np.isfinite(value) else None


def _matrix(name: str, tensor: Tensor) -> np.ndarray:
    if tensor.ndim != 2 or 0 in tensor.shape:
        raise ValueError(f"{name}: got shape {tuple(tensor.shape)}, wants rows and columns")
    matrix = tensor.detach().double().cpu().numpy()
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        raise ValueError(f"{name}: {matrix[row, column]} in row {row}, column {column}; all values must be finite")
    return matrix


def _subsample(rows: np.ndarray, max_rows: int, rng: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= max_rows else rows[rng.choice(len(rows), max_rows, replace=False)]
