"""Validators that read the model's outputs for target rows alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tl_research.evaluation.rules import register_rule
from tl_research.evaluation.validators.rows import finite_matrix, some_rows

if TYPE_CHECKING:
    from torch import Tensor

# torch is imported where it is used: whoever reads a record asks for the names of rules alone.


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

    log_p = torch.log_softmax(torch.from_numpy(finite_matrix("target_logits", target_logits)), dim=1)
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

    rows = some_rows(finite_matrix("target_logits", target_logits), max_rows, np.random.default_rng(seed))
    if len(rows) < 2:
        return None
    unit = torch.nn.functional.normalize(torch.softmax(torch.from_numpy(rows), dim=1), dim=1)
    similarity = (unit @ unit.T / temperature).fill_diagonal_(-torch.inf)
    p = torch.softmax(similarity, dim=1)
    return float(-torch.special.xlogy(p, p).sum(dim=1).mean())


@register_rule("entropy", reads=("target/outputs",), of=("class",), offline=True)
def negative_entropy(target_logits: Tensor) -> float:
    """Negative mean entropy of the predictions, -mean_i H(p_i), in nats: between -ln(classes) and 0.

    A model that puts every row into one class, surely, scores highest.

    Args:
        target_logits: (n, classes) float.

    Raises:
        ValueError: no rows, a wrong shape, or a logit that is not finite.

    Reference:
        Morerio et al. 2018, ICLR, "Minimal-entropy correlation alignment".
    """
    p = _probabilities(target_logits)
    return float(_xlogx(p).sum(axis=1).mean())


@register_rule("bnm", reads=("target/outputs",), of=("class",), offline=True)
def nuclear_norm(target_logits: Tensor) -> float:
    """Nuclear norm of the probabilities P (n, C), by its largest possible value: ||P||_* / sqrt(n min(n, C)).

    It is 1 where predictions are sure and every class has equally many rows, and sqrt(1 / min(n, C)) where all rows
    are surely of one class.

    Args:
        target_logits: (n, C) float.

    Raises:
        ValueError: no rows, a wrong shape, or a logit that is not finite.

    Reference:
        Cui et al. 2020, CVPR, "Towards discriminability and diversity", as a validator in Musgrave et al. 2022,
        arXiv:2208.07360.
    """
    p = _probabilities(target_logits)
    return float(np.linalg.norm(p, ord="nuc") / np.sqrt(len(p) * min(p.shape)))


@register_rule("corr_c", reads=("target/outputs",), of=("class",), offline=True)
def class_correlation(target_logits: Tensor) -> float:
    """Cosine of the class correlation C = PᵀP / n and the diagonal matrix of the mean probabilities; 0 to 1.

    It is 1 where every prediction is sure.

    Args:
        target_logits: (n, classes) float.

    Raises:
        ValueError: no rows, a wrong shape, or a logit that is not finite.

    Reference:
        Tu et al. 2023, "Assessing model out-of-distribution generalization with softmax prediction probability
        baselines and a correlation method".
    """
    p = _probabilities(target_logits)
    correlation, mean = p.T @ p / len(p), p.mean(axis=0)
    return float((np.diag(correlation) * mean).sum() / (np.linalg.norm(correlation) * np.linalg.norm(mean)))


def _probabilities(logits: Tensor) -> np.ndarray:
    z = finite_matrix("target_logits", logits)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _xlogx(p: np.ndarray) -> np.ndarray:
    return p * np.log(np.where(p > 0, p, 1.0))
