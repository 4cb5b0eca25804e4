"""Losses for label sets that differ: weights of classes, an output for unknown rows, clusters among target rows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def class_shares(probability: Tensor) -> Tensor:
    """Weight of each class by what the target is predicted to have of it: γ_c = m_c / max_k m_k, m the mean of p_i.

    1 for the class that the target seems to have most of, near 0 for one that it lacks. No gradient.

    Args:
        probability: p (n, C) float of target rows, or their mean (C,).

    Returns:
        γ (C,), from 0 to 1.

    Reference:
        Cao et al. 2018, ECCV (PADA), eq. 3 and the normalisation after it.
    """
    mean = probability.detach()
    mean = mean.mean(dim=0) if mean.ndim == 2 else mean
    return mean / mean.max().clamp_min(torch.finfo(mean.dtype).tiny)


def unknown_bce(logits: Tensor, *, share: float = 0.5) -> Tensor:
    """Binary cross-entropy of the probability of the last class, u_i = p_i,unknown, with a constant for a label.

    mean_i -t ln u_i - (1 - t) ln(1 - u_i), t = `share`: least where every u_i = t, where it is the entropy of t
    (ln 2 for ½). In float32 or wider, finite for any finite logits.

    Args:
        logits: (n, C) float, C >= 2; the last class is `unknown`.
        share: t, 0 to 1.

    Returns:
        Scalar, in nats.

    Raises:
        ValueError: logits that are no table, or have fewer than two columns.

    Reference:
        Saito et al. 2018, ECCV (OSBP), eq. 3.
    """
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(f"unknown_bce: got {tuple(logits.shape)}, wants (n, C), C >= 2")
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    log_odds = wide[:, -1] - wide[:, :-1].logsumexp(dim=1)
    return F.binary_cross_entropy_with_logits(log_odds, torch.full_like(log_odds, share))


def neighbourhood_entropy(
    features: Tensor, place: Tensor, memory: Tensor, prototypes: Tensor, *, temperature: float = 0.05
) -> Tensor:
    """Neighbourhood clustering: the entropy of a row's similarities to all other target rows and to the classes.

    With F = [V; W], V the memory with the batch's rows in their places and W the prototypes,

        p_ij = exp(f_i · F_j / T) / Σ_{k != place_i} exp(f_i · F_k / T),   L = mean_i -Σ_{j != place_i} p_ij ln p_ij.

    The gradient reaches the batch's features, on both sides, and the prototypes. In float32 or wider.

    Args:
        features: f (n, d) float of length 1, target rows.
        place: (n,) int64, each row's own place in the memory.
        memory: (m, d) float of length 1, the latest features of all target rows, m + C >= 2.
        prototypes: W (C, d) float of length 1.
        temperature: T > 0.

    Returns:
        Scalar, in nats.

    Raises:
        ValueError: shapes that do not fit, or a temperature of 0 or less.

    Reference:
        Saito et al. 2020, NeurIPS (DANCE), eq. 1 to 3.
    """
    shapes = tuple(features.shape), tuple(place.shape), tuple(memory.shape), tuple(prototypes.shape)
    if features.ndim != 2 or len(place) != len(features) or {features.shape[1]} != {shapes[2][-1], shapes[3][-1]}:
        raise ValueError(f"neighbourhood_entropy: got {shapes}, wants (n, d), (n,), (m, d) and (C, d)")
    if not temperature > 0:
        raise ValueError(f"neighbourhood_entropy: got temperature {temperature}, wants above 0")
    with torch.autocast(features.device.type, enabled=False):
        features, prototypes = (
            rows.to(torch.promote_types(rows.dtype, torch.float32)) for rows in (features, prototypes)
        )
        latest = memory.to(features.dtype).detach().index_put((place,), features)
        similarity = features @ torch.cat([latest, prototypes.to(features.dtype)]).T / temperature
        own = F.one_hot(place, similarity.shape[1]).bool()
        log_p = similarity.masked_fill(own, -torch.inf).log_softmax(dim=1)
        # 0 ln 0 = 0 for the own place.
        return -(log_p.exp() * log_p.masked_fill(own, 0.0)).sum(dim=1).mean()


def entropy_separation(entropy: Tensor, *, threshold: float, margin: float = 0.5) -> Tensor:
    """Entropy separation: rows that are clearly certain become more so, those that are clearly uncertain too.

    mean_i of -|H_i - ρ| where |H_i - ρ| > m, and 0 elsewhere.

    Args:
        entropy: H (n,) float of the rows' class probabilities, in nats.
        threshold: ρ, below which a row counts as one of a known class.
        margin: m >= 0; rows as near as that to ρ are left alone.

    Returns:
        Scalar, 0 or less.

    Reference:
        Saito et al. 2020, NeurIPS (DANCE), eq. 4 and 5.
    """
    distance = (entropy - threshold).abs()
    return -torch.where(distance > margin, distance, torch.zeros_like(distance)).mean()


def with_unknown_logit(logits: Tensor, *, threshold: float) -> Tensor:
    """Add an output for `unknown`, which wins where the entropy of the known classes is above a threshold.

    z_unknown = max_c z_c + H(softmax(z)) - ρ.

    Args:
        logits: z (n, C) float of the known classes.
        threshold: ρ, in nats.

    Returns:
        (n, C + 1), same dtype; the first C columns are `logits`.
    """
    log_p = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=1)
    excess = -(log_p.exp() * log_p).sum(dim=1) - threshold
    return torch.cat([logits, (logits.amax(dim=1) + excess.to(logits.dtype))[:, None]], dim=1)
