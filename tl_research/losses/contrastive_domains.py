"""Contrastive domain discrepancy: near within a class, far between classes, across domains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot


class DomainDiscrepancy(NamedTuple):
    """What `contrastive_discrepancy` found; 0 where no pair of classes is there.

    Fields:
        within: mean of D(c, c) over the classes that both batches have.
        between: mean of D(c, c'), c of the source and c' ≠ c of the target.
    """

    within: Tensor
    between: Tensor


def contrastive_discrepancy(
    source: Tensor, label: Tensor, target: Tensor, guess: Tensor, *, classes: int, bandwidths: Sequence[float] | Tensor
) -> DomainDiscrepancy:
    """Squared kernel distance of a class of the source from a class of the target, within and between classes.

        D(c, c') = e_cc(S, S) + e_c'c'(T, T) - 2 e_cc'(S, T),   e the mean of k over pairs of rows of the two classes
        k(x, y) = (1/B) Σ_b exp(-‖x - y‖² / (2 σ_b²))

    Each mean lies in [0, 1], and D in [0, 2]. A row is a pair with itself, as in the paper. In float32 or wider.

    Args:
        source: (n, d) float.
        label: (n,) int64 classes of its rows.
        target: (m, d) float.
        guess: (m,) int64 classes of its rows; negative: the row takes no part.
        classes: number of classes.
        bandwidths: σ of the B Gaussian kernels.

    Returns:
        Two scalars.

    Raises:
        ValueError: shapes that do not fit.

    Reference:
        Kang et al. 2019, CVPR, equations 3 to 5 (CDD).
    """
    if source.ndim != 2 or target.ndim != 2 or source.shape[1] != target.shape[1]:
        shapes = tuple(source.shape), tuple(target.shape)
        raise ValueError(f"contrastive_discrepancy: got {shapes}, wants (n, d) and (m, d)")
    if len(label) != len(source) or len(guess) != len(target):
        raise ValueError(f"contrastive_discrepancy: got {len(label)} and {len(guess)} classes of as many rows")
    with torch.autocast(source.device.type, enabled=False):
        wide = torch.promote_types(source.dtype, torch.float32)
        taken = guess >= 0
        x, y = source.to(wide), target.to(wide)[taken]
        of_x, of_y = one_hot(label, classes).to(wide), one_hot(guess[taken], classes).to(wide)
        of_x, of_y = (part / part.sum(dim=0).clamp_min(1) for part in (of_x, of_y))

        def means(left: Tensor, of_left: Tensor, right: Tensor, of_right: Tensor) -> Tensor:
            return of_left.T @ _kernel(left, right, bandwidths) @ of_right

        own = means(x, of_x, x, of_x).diagonal()[:, None], means(y, of_y, y, of_y).diagonal()[None]
        distance = own[0] + own[1] - 2 * means(x, of_x, y, of_y)
        is_there = (of_x.sum(dim=0) > 0)[:, None] & (of_y.sum(dim=0) > 0)[None]
        same = torch.eye(classes, dtype=torch.bool, device=x.device)
        return DomainDiscrepancy(_mean(distance, is_there & same), _mean(distance, is_there & ~same))


def _kernel(x: Tensor, y: Tensor, bandwidths: Sequence[float] | Tensor) -> Tensor:
    # A batch is small: the matrix is made whole, and an empty one is no special case.
    squared = (x.square().sum(1)[:, None] + y.square().sum(1)[None] - 2 * x @ y.T).clamp_min(0)
    return torch.stack([(-squared / (2 * sigma**2)).exp() for sigma in bandwidths]).mean(dim=0)


def _mean(values: Tensor, taken: Tensor) -> Tensor:
    return torch.where(taken, values, 0).sum() / taken.sum().clamp_min(1)
