"""Gaussian basis functions at target rows, which the density-ratio models share."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.config import WeightingConfig, all_above, at_least
from tl_research.weighting.prepared import median_distance, squared_distances, tiles


@dataclass
class BasisConfig(WeightingConfig):
    """Options of a model w(x) = Σ_l alpha_l exp(-||x - c_l||² / (2 sigma²)) with centres c_l among the target rows."""

    centres: int = at_least(1, default=100)  # at most this many
    widths: list[float] = all_above(0, default=[0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0])
    # ^ candidates for sigma, times the median distance of the pooled rows; one value leaves out the choice
    cv_rows: int = at_least(10, default=5_000)  # rows of each domain that the choice looks at; the fit sees all


class Basis:
    """Squared distances of both domains' rows to the centres, and the candidate widths.

    Args:
        source: (n, d) and target (m, d), as `prepared` gives them: the first target rows are the centres.
    """

    def __init__(self, source: Tensor, target: Tensor, config: BasisConfig):
        centres = target[: config.centres]
        self.source, self.target = _to_centres(source, centres), _to_centres(target, centres)
        self.median = median_distance(source, target)
        self.sigmas = [width * self.median for width in config.widths]


def _to_centres(rows: Tensor, centres: Tensor) -> Tensor:
    return torch.cat([squared_distances(rows[part], centres) for part in tiles(len(rows), len(centres))])


def gaussian(squared: Tensor, sigma: float) -> Tensor:
    """exp(-squared / (2 sigma²))."""
    return (squared / (-2 * sigma**2)).exp_()


def folds(rows: int, count: int) -> list[tuple[slice, Tensor]]:
    """For each of `count` folds of shuffled rows: which are held out, and a mask (rows,) of the others."""
    edges = [rows * fold // count for fold in range(count + 1)]
    held = [slice(*pair) for pair in itertools.pairwise(edges)]
    masks = torch.ones(count, rows, dtype=torch.bool)
    for mask, part in zip(masks, held):
        mask[part] = False
    return list(zip(held, masks))
