"""Losses of the class probabilities of rows without labels: entropy, class confusion, nuclear norm."""

from __future__ import annotations

import torch
from torch import Tensor


def row_entropies(logits: Tensor) -> Tensor:
    """Entropy of each row's class probabilities: H_i = -Σ_c p_ic ln p_ic, p_i = softmax(z_i).

    0 where a row is certain, ln C where all classes are alike. In float32 or wider, and finite for any finite logits.

    Args:
        logits: z (n, C) float.

    Returns:
        (n,), in nats.

    Raises:
        ValueError: logits that are no table.

    Reference:
        Grandvalet & Bengio 2004, NeurIPS, section 2 (minimum entropy regularisation).
    """
    log_p = _log_probabilities(logits, "row_entropies")
    return -(log_p.exp() * log_p).sum(dim=1)


def class_confusion(logits: Tensor, *, temperature: float = 2.5) -> Tensor:
    """Minimum class confusion: how much of the probability of one class falls on rows of another one.

    Of n rows with probabilities p_i = softmax(z_i / T) and entropies H_i:

        W_i = n (1 + exp(-H_i)) / Σ_k (1 + exp(-H_k))     a certain row counts more
        C = Pᵀ diag(W) P                                  correlation of the classes
        L = 1 - (1 / classes) Σ_j C_jj / Σ_j' C_jj'       each class's share that falls on the others, on average

    The weights have no gradient. 0 where every row is certain and no class is without rows, 1 - 1 / classes where every
    row is undecided. In float32 or wider.

    Args:
        logits: z (n, classes) float, n >= 1.
        temperature: T > 0.

    Returns:
        Scalar from 0 to 1 - 1 / classes.

    Raises:
        ValueError: logits that are no table or have no row, a temperature of 0 or less.

    Reference:
        Jin et al. 2020, ECCV, section 3 (minimum class confusion).
    """
    if not temperature > 0:
        raise ValueError(f"class_confusion: got temperature {temperature}, wants above 0")
    log_p = _log_probabilities(logits, "class_confusion", temperature)
    if not len(log_p):
        raise ValueError("class_confusion: got no rows")
    with torch.autocast(logits.device.type, enabled=False):
        p = log_p.exp()
        certainty = 1 + (log_p.detach() * p.detach()).sum(dim=1).exp()
        weight = len(p) * certainty / certainty.sum()
        correlation = (p * weight[:, None]).T @ p
        # A class whose probability rounds to 0 on every row is all on rows of others, as it is just before it does.
        total = correlation.sum(dim=1).clamp_min(torch.finfo(p.dtype).tiny)
        return (1 - correlation.diagonal() / total).mean()


def nuclear_norm(logits: Tensor) -> Tensor:
    """Nuclear norm of the table of class probabilities per row: ‖P‖_* / n, the sum of P's singular values over n.

    Large where rows are certain and classes are many: at most sqrt(n min(n, C)) / n. In float32 or wider.

    Args:
        logits: (n, C) float, n >= 1; P is their softmax by rows.

    Returns:
        Scalar.

    Raises:
        ValueError: logits that are no table or have no row.

    Reference:
        Cui et al. 2020, CVPR, section 3 (batch nuclear-norm maximisation).
    """
    p = _log_probabilities(logits, "nuclear_norm").exp()
    if not len(p):
        raise ValueError("nuclear_norm: got no rows")
    with torch.autocast(logits.device.type, enabled=False):
        return torch.linalg.svdvals(p).sum() / len(p)


def fast_nuclear_norm(logits: Tensor) -> Tensor:
    """`nuclear_norm` by the lengths of P's columns: the sum of the min(n, C) largest ‖P_·c‖₂, over n.

    It needs no decomposition. Equal to the norm where P's columns are orthogonal, as those of certain rows are, and
    above it elsewhere. In float32 or wider.

    Args:
        logits: (n, C) float, n >= 1.

    Returns:
        Scalar.

    Raises:
        ValueError: logits that are no table or have no row.

    Reference:
        Cui et al. 2021, arXiv:2107.06154 (fast batch nuclear-norm maximisation).
    """
    p = _log_probabilities(logits, "fast_nuclear_norm").exp()
    if not len(p):
        raise ValueError("fast_nuclear_norm: got no rows")
    # The square root has no gradient at 0, where a class has no probability on any row.
    lengths = p.square().sum(dim=0).clamp_min(torch.finfo(p.dtype).tiny).sqrt()
    return lengths.topk(min(p.shape)).values.sum() / len(p)


def _log_probabilities(logits: Tensor, function: str, temperature: float = 1.0) -> Tensor:
    if logits.ndim != 2:
        raise ValueError(f"{function}: got {tuple(logits.shape)}, wants (n, C)")
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return (wide / temperature).log_softmax(dim=1)
