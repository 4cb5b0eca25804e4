"""Losses of target rows that start from a source model: information, centroids, neighbours."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from tl_research.losses.target_probabilities import row_entropies


def information_maximisation(logits: Tensor) -> Tensor:
    """Certain predictions of varied classes: L = (1/n) Σ_i H(p_i) - H(p̄), p̄ = (1/n) Σ_i p_i.

    -ln C where every row is certain and all classes are as frequent, 0 where all rows are alike. In float32 or wider.

    Args:
        logits: (n, C) float, n >= 1; p_i is the softmax of row i.

    Returns:
        Scalar, in nats.

    Raises:
        ValueError: logits that are no table or have no row.

    Reference:
        Liang et al. 2020, ICML, equations 2 and 3 (SHOT-IM).
    """
    return row_entropies(logits).mean() - entropy_of_mean(logits)


def entropy_of_mean(logits: Tensor) -> Tensor:
    """Entropy of the mean probabilities: H(p̄) = -Σ_c p̄_c ln p̄_c, from 0 to ln C.

    Args:
        logits: (n, C) float, n >= 1.

    Returns:
        Scalar, in nats.

    Raises:
        ValueError: logits that are no table or have no row.

    Reference:
        Liang et al. 2020, ICML, equation 3; Yang et al. 2021, NeurIPS, equation 8 (up to ln C).
    """
    if logits.ndim != 2 or not len(logits):
        raise ValueError(f"entropy_of_mean: got {tuple(logits.shape)}, wants (n, C) with a row")
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    # By logarithms: a class whose probability rounds to 0 on every row has a finite gradient.
    log_mean = wide.log_softmax(dim=1).logsumexp(dim=0) - math.log(len(wide))
    return -(log_mean.exp() * log_mean).sum()


def centroid_labels(features: Tensor, probability: Tensor, *, rounds: int = 1) -> Tensor:
    """Label of each row: the class of the nearest centroid by the cosine. No gradient.

        c_k = Σ_i p_ik f_i / Σ_i p_ik,    ŷ_i = argmax_k cos(f_i, c_k)

    then `rounds` times again, with 1[ŷ_i = k] for p_ik. Each f_i has a 1 appended and length 1, as in the paper's code.
    A class that no row has keeps no centroid in the next round.

    Args:
        features: f (n, d) float.
        probability: p (n, C) float.
        rounds: how often centroids are made anew from hard labels.

    Returns:
        ŷ (n,) int64.

    Raises:
        ValueError: shapes that do not fit, no row, or rounds below 0.

    Reference:
        Liang et al. 2020, ICML, equations 4 to 6 (SHOT).
    """
    if features.ndim != 2 or probability.ndim != 2 or len(features) != len(probability) or not len(features):
        shapes = tuple(features.shape), tuple(probability.shape)
        raise ValueError(f"centroid_labels: got {shapes}, wants (n, d) and (n, C) with a row")
    if rounds < 0:
        raise ValueError(f"centroid_labels: got {rounds} rounds, wants 0 or more")
    with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
        wide = features.to(torch.promote_types(features.dtype, torch.float32))
        rows = F.normalize(torch.cat([wide, wide.new_ones(len(wide), 1)], dim=1), dim=1)
        weight = probability.to(rows.dtype)
        for _ in range(rounds + 1):
            mass = weight.sum(dim=0)
            centroids = F.normalize(weight.T @ rows, dim=1)
            similarity = (rows @ centroids.T).masked_fill(mass == 0, -torch.inf)
            label = similarity.argmax(dim=1)
            weight = F.one_hot(label, probability.shape[1]).to(rows.dtype)
        return label


def neighbour_places(query: Tensor, own: Tensor, keys: Tensor, *, neighbours: int) -> Tensor:
    """Places of each row's nearest keys by the cosine, its own key left out. No gradient.

    Args:
        query: (n, d) float.
        own: (n,) int64, the place of each row's own key.
        keys: (k, d) float, k >= 2.
        neighbours: m >= 1; all other keys where there are fewer.

    Returns:
        (n, min(m, k - 1)) int64, the nearest first.

    Raises:
        ValueError: shapes that do not fit, fewer than two keys, or m below 1.
    """
    if query.ndim != 2 or keys.ndim != 2 or query.shape[1] != keys.shape[1] or len(own) != len(query):
        shapes = tuple(query.shape), tuple(own.shape), tuple(keys.shape)
        raise ValueError(f"neighbour_places: got {shapes}, wants (n, d), (n,) and (k, d)")
    if len(keys) < 2 or neighbours < 1:
        raise ValueError(f"neighbour_places: got {len(keys)} keys, {neighbours} neighbours; wants 2 and 1 or more")
    with torch.no_grad(), torch.autocast(query.device.type, enabled=False):
        similarity = F.normalize(query.to(keys.dtype), dim=1) @ F.normalize(keys, dim=1).T
        similarity[torch.arange(len(query), device=query.device), own] = -torch.inf
        return similarity.topk(min(neighbours, len(keys) - 1), dim=1).indices


def agreement(probability: Tensor, scores: Tensor, weight: Tensor) -> Tensor:
    """Agreement with the neighbours, negated: -(1/n) Σ_i Σ_j w_ij <s_ij, p_i>.

    Args:
        probability: p (n, C) float.
        scores: s (n, m, C) float, of the neighbours, without gradient.
        weight: w (n, m) float.

    Returns:
        Scalar.

    Raises:
        ValueError: shapes that do not fit.

    Reference:
        Yang et al. 2021, NeurIPS, equation 5 (NRC).
    """
    n, classes = probability.shape
    if scores.shape != (n, weight.shape[1], classes) or len(weight) != n:
        shapes = tuple(probability.shape), tuple(scores.shape), tuple(weight.shape)
        raise ValueError(f"agreement: got {shapes}, wants (n, C), (n, m, C) and (n, m)")
    return -torch.einsum("nmc,nc,nm->", scores, probability, weight) / n
