"""A validator that reads the model's outputs for mixtures of target rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tl_research.evaluation.rules import register_rule
from tl_research.evaluation.validators.rows import finite_matrix

if TYPE_CHECKING:
    from torch import Tensor

#: Share of a mixture's first row.
FIRST = 0.55


def partners(count: int, seed: int = 0) -> np.ndarray:
    """Return for each of `count` rows the row that it is mixed with; no row is its own partner where there are two."""
    order = np.random.default_rng(seed).permutation(count)
    found = np.empty(count, dtype=np.int64)
    found[order] = np.roll(order, 1)
    return found


def mixtures(inputs: Tensor) -> Tensor:
    """Return FIRST x_i + (1 - FIRST) x_partner(i) for inputs (n, ...) of numbers, among them images of bytes."""
    import torch

    rows = inputs if inputs.is_floating_point() else inputs.float()
    return torch.lerp(rows[torch.from_numpy(partners(len(rows))).to(rows.device)], rows, FIRST)


@register_rule("mixval", reads=("target/outputs", "target/mixed_outputs"), of=("class",), offline=True)
def mixval(target_logits: Tensor, mixed_logits: Tensor) -> float:
    """Share of mixtures of two target rows that are predicted as the row with the larger share is.

    It is the mean of two such shares: over pairs that are predicted alike (do clusters hang together?) and over pairs
    that are not (does the boundary lie between them?). Where all pairs are of one kind it is that kind's share.

    Args:
        target_logits: (n, classes) float.
        mixed_logits: (n, classes) float, of `mixtures` of the same rows.

    Raises:
        ValueError: no rows, shapes that do not fit, or a logit that is not finite.

    Reference:
        Hu et al. 2023, NeurIPS, "Mixed samples as probes for unsupervised model selection in domain adaptation".
        There candidates are ranked by each share, and ranks are averaged.
    """
    logits, mixed = finite_matrix("target_logits", target_logits), finite_matrix("mixed_logits", mixed_logits)
    if logits.shape != mixed.shape:
        raise ValueError(f"got logits of shape {logits.shape} and of mixtures {mixed.shape}")
    predicted = logits.argmax(axis=1)
    is_kept, is_alike = mixed.argmax(axis=1) == predicted, predicted == predicted[partners(len(predicted))]
    shares = [is_kept[pairs].mean() for pairs in (is_alike, ~is_alike) if pairs.any()]
    return float(np.mean(shares))
