"""What a conditional discriminator sees: features and class probabilities, multiplied; and how much a row counts."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def multilinear_map(features: Tensor, probability: Tensor) -> Tensor:
    """Outer product of each row's features and class probabilities: entry c d + j is g_ic f_ij.

    Args:
        features: f (n, d) float.
        probability: g (n, C) float.

    Returns:
        (n, C d).

    Raises:
        ValueError: tables whose rows differ.

    Reference:
        Long et al. 2018, NeurIPS, section 3.1 (T⊗).
    """
    _require_rows("multilinear_map", features, probability)
    return (probability[:, :, None] * features[:, None, :]).flatten(1)


def randomised_multilinear_map(
    features: Tensor, probability: Tensor, of_features: Tensor, of_probability: Tensor
) -> Tensor:
    """Few products in the place of all: (R_f f) ⊙ (R_g g) / √k.

    For matrices whose entries are independent, of mean 0 and variance 1, the inner product of two rows is that of
    `multilinear_map` in expectation: <f, f'> <g, g'>.

    Args:
        features: f (n, d) float.
        probability: g (n, C) float.
        of_features: R_f (k, d) float.
        of_probability: R_g (k, C) float.

    Returns:
        (n, k).

    Raises:
        ValueError: tables whose rows differ.

    Reference:
        Long et al. 2018, NeurIPS, section 3.1 (T⊙).
    """
    _require_rows("randomised_multilinear_map", features, probability)
    return (features @ of_features.T) * (probability @ of_probability.T) / math.sqrt(len(of_features))


def entropy_weights(logits: Tensor) -> Tensor:
    """Weights of rows by how certain they are: (1 + exp(-H_i)) / mean_k (1 + exp(-H_k)), H the entropy of softmax.

    Args:
        logits: (n, C) float, n >= 1.

    Returns:
        (n,) of mean 1, without a gradient.

    Reference:
        Long et al. 2018, NeurIPS, section 3.2 (entropy conditioning), scaled to mean 1 as in public code.
    """
    log_p = logits.detach().to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=1)
    certainty = 1 + (log_p.exp() * log_p).sum(dim=1).exp()
    return certainty / certainty.mean()


def _require_rows(name: str, features: Tensor, probability: Tensor) -> None:
    if features.ndim != 2 or probability.ndim != 2 or len(features) != len(probability):
        raise ValueError(f"{name}: got {tuple(features.shape)} and {tuple(probability.shape)}, wants (n, d) and (n, C)")
