"""Co-tuning: what the classes of the target are in terms of those of the source, p(y_s | y_t)."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from torch import Tensor

#: Between these lies the temperature that is looked for.
TEMPERATURES = (0.05, 20.0)


def calibrating_temperature(logits: Tensor, label: Tensor) -> float:
    """Temperature T that makes probabilities of logits: argmin_T mean CE(logits / T, label).

    Args:
        logits: (n, classes) float, of rows that the model was not trained on.
        label: (n,) int64.

    Returns:
        T, within `TEMPERATURES`.

    Raises:
        ValueError: no rows.

    Reference:
        Guo et al. 2017, ICML, section 4.2; You et al. 2020, NeurIPS, section 3.4.
    """
    if len(logits) == 0:
        raise ValueError("calibrating_temperature: got no rows")
    logits = logits.detach().double().cpu()
    label = label.cpu()

    def loss(log_temperature: float) -> float:
        return F.cross_entropy(logits / math.exp(log_temperature), label).item()

    bounds = tuple(math.log(bound) for bound in TEMPERATURES)
    return math.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x)


def category_relation(probability: Tensor, label: Tensor, classes: int, *, learned: str = "direct") -> Tensor:
    """Relation of classes p(y_s | y_t), from what the source model says of labelled target rows.

    direct: p(y_s | y_t = c) = mean over rows of class c of p(y_s | x).
    reverse: a logistic regression learns p(y_t | y_s) from pairs (p(y_s | x), y_t), is asked about each source class
    for certain, and Bayes' rule with the prior p(y_s) = mean over rows of p(y_s | x) turns it round.

    Args:
        probability: (n, source classes) float p(y_s | x), calibrated.
        label: (n,) int64 class y_t.
        classes: number of target classes.
        learned: `direct` or `reverse`.

    Returns:
        (classes, source classes) float64; rows sum to 1, but for a class without a row, which has zeros.

    Raises:
        ValueError: no rows, or another `learned`.

    Reference:
        You et al. 2020, NeurIPS, "Co-Tuning for Transfer Learning", eq. 3 (direct), algorithm 1 (reverse).
    """
    if len(label) == 0:
        raise ValueError("category_relation: got no rows")
    if learned not in ("direct", "reverse"):
        raise ValueError(f"category_relation: got learned={learned!r}, wants direct or reverse")
    probability = probability.detach().double().cpu()
    label = label.cpu()
    present = label.unique()
    relation = torch.zeros(classes, probability.shape[1], dtype=torch.float64)
    if learned == "direct" or len(present) == 1:
        for c in present:
            relation[c] = probability[label == c].mean(dim=0)
        return relation
    model = LogisticRegression(max_iter=5000).fit(probability.numpy(), label.numpy())
    target_of_source = model.predict_proba(np.eye(probability.shape[1]))  # (source classes, present classes)
    joint = target_of_source * probability.mean(dim=0).numpy()[:, None]
    relation[present] = torch.from_numpy((joint / joint.sum(axis=0)).T)
    return relation


def relation_cross_entropy(source_logits: Tensor, relation: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy of the source head with the source classes that a label stands for.

    -mean_i sum_s p(s | y_i) log softmax(source_logits_i)_s, in float32 or wider.

    Args:
        source_logits: (n, source classes) float.
        relation: (classes, source classes) float.
        label: (n,) int64 target class.

    Returns:
        Scalar, in nats.

    Reference:
        You et al. 2020, NeurIPS, eq. 2.
    """
    with torch.autocast(source_logits.device.type, enabled=False):
        log_q = F.log_softmax(source_logits.to(torch.promote_types(source_logits.dtype, torch.float32)), dim=1)
        return -(relation.to(log_q)[label] * log_q).sum(dim=1).mean()
