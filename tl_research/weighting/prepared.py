"""Rows as every weighting wants them: checked, centred, in an order of their own; and distances by tiles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tl_research.errors import DataError
from tl_research.kernels import gram_product
from tl_research.nn.rounding import relative_rounding

#: Most numbers of one tile of distances (64 MB of float64).
TILE = 8_000_000
#: Rows of each domain that the median heuristic looks at.
MEDIAN_ROWS = 500


class Prepared(NamedTuple):
    """Rows of both domains, float64, centred together and shuffled by the seed.

    The shuffle starts from the rows' own values, not from their places: what is drawn from the first rows, paired or
    folded is the same whatever order the caller's rows come in.

    Fields:
        source: (n, d). target: (m, d).
        order: (n,) int64, the caller's row at each place of `source`.
    """

    source: Tensor
    target: Tensor
    order: Tensor

    def restored(self, weight: Tensor) -> Tensor:
        """Values (n,) of `source`'s rows in the caller's order."""
        return torch.empty_like(weight).scatter_(0, self.order, weight)


def prepared(source: Tensor, target: Tensor, seed: int, *, least: int = 1) -> Prepared:
    """Check, centre and shuffle the rows of both domains.

    Args:
        source: (n, d) float. target: (m, d) float.
        seed: of the shuffle.
        least: fewest rows of a domain.

    Raises:
        DataError: shapes that do not fit, too few rows, or a value that is not finite (side, row and column named).
    """
    check_rows(source, target, least=least)
    noise = _is_constant(source, target)
    source, target = source.double(), target.double()
    middle = (source.sum(dim=0) + target.sum(dim=0)) / (len(source) + len(target))
    source, target = ((rows - middle).masked_fill(noise, 0.0) for rows in (source, target))
    random = np.random.default_rng(seed)
    direction = torch.as_tensor(random.standard_normal(source.shape[1]), device=source.device)
    source_order, target_order = (_shuffled(rows, direction, random) for rows in (source, target))
    return Prepared(source[source_order], target[target_order], source_order)


def _is_constant(source: Tensor, target: Tensor) -> Tensor:
    """Which columns (d,) are constant up to the rounding of their numbers."""
    low, high = (
        torch.minimum(source.amin(dim=0), target.amin(dim=0)),
        torch.maximum(source.amax(dim=0), target.amax(dim=0)),
    )
    return (
        high.double() - low.double() <= relative_rounding(source.dtype) * torch.maximum(low.abs(), high.abs()).double()
    )


def _shuffled(rows: Tensor, direction: Tensor, random: np.random.Generator) -> Tensor:
    # A sum over columns, not a matrix product, whose last bits may depend on a row's place.
    by_value = (rows * direction).sum(dim=1).argsort(stable=True)
    return by_value[torch.as_tensor(random.permutation(len(rows)), device=rows.device)]


def check_rows(source: Tensor, target: Tensor, *, least: int = 1) -> None:
    """Refuse rows that no weighting can use; see `prepared`.

    Raises:
        DataError: shapes that do not fit, too few rows, or a value that is not finite.
    """
    if source.ndim != 2 or target.ndim != 2 or source.shape[1] != target.shape[1] or source.shape[1] == 0:
        raise DataError(
            f"method.weighting: got source {tuple(source.shape)} and target {tuple(target.shape)}, "
            "wants (n, d) and (m, d)"
        )
    for side, rows in (("source", source), ("target", target)):
        if len(rows) < least:
            raise DataError(f"method.weighting: {side} has {len(rows)} row(s), wants at least {least}")
        if not bool(torch.isfinite(rows.sum())):  # cheap; only then look for where
            wrong = (~torch.isfinite(rows)).nonzero()
            if len(wrong):
                row, column = wrong[0].tolist()
                value = rows[row, column].item()
                raise DataError(f"method.weighting: {side} row {row}, column {column} is {value}, wants a number")


def tiles(n: int, width: int, size: int = TILE) -> Iterator[slice]:
    """Slices of n rows such that a tile of `width` columns has at most `size` numbers (one row at least)."""
    step = max(1, size // max(1, width))
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """||a_i - b_j||² (n, m) of centred rows; the caller sees to it that n·m is small."""
    squared = torch.addmm(b.square().sum(dim=1), a, b.T, alpha=-2)
    return squared.add_(a.square().sum(dim=1)[:, None]).clamp_min_(0)


def median_distance(source: Tensor, target: Tensor) -> float:
    """Median distance between pairs of the pooled rows, of the first `MEDIAN_ROWS` of each domain (> 0).

    Where it is 0 up to rounding (most rows are equal) it is the root of the mean squared distance, and where that is 0
    too (all rows are equal) 1: then every bandwidth gives one weight.
    """
    rows = torch.cat([source[:MEDIAN_ROWS], target[:MEDIAN_ROWS]])
    above = torch.ones(len(rows), len(rows), dtype=torch.bool, device=rows.device).triu(diagonal=1)
    if len(rows) < 2:
        return 1.0
    squared = squared_distances(rows, rows)[above]
    # An expanded square is off by the rounding of the norms.
    rounding = relative_rounding(rows.dtype) * float(rows.square().sum(dim=1).max())
    for typical in (squared.median(), squared.mean()):
        if float(typical) > rounding:
            return float(typical.sqrt())
    return 1.0


def gaussian_product(x: Tensor, y: Tensor, v: Tensor, sigma: float) -> Tensor:
    """K v (n,) or (n, C) with K_ij = exp(-||x_i - y_j||² / (2 sigma²)), streamed."""
    return gram_product(x, y, v, bandwidths=[sigma])
