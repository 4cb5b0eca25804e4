"""Principal components of both domains' rows together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.alignment.base import Alignment, Rows, register_alignment
from tl_research.alignment.linear import (
    ComponentsConfig,
    affine,
    chosen_components,
    expected_components,
    moments,
    spectrum,
)


@dataclass
class PCAConfig(ComponentsConfig):
    """Options of `joint_pca`: the number of axes, and what each domain weighs."""

    balanced: bool = False  # let each domain weigh a half, whatever its number of rows, instead of each row the same


@register_alignment(
    "joint_pca",
    config=PCAConfig,
    family="baseline",
    paper="Pearson 1901; as baseline: Long et al. 2013, ICCV, section 5.2",
)
class PCA(Alignment):
    """Joint PCA: the leading directions of the pooled rows; it knows no domains and is the row beside every method.

    x -> (x - μ) P,  P the leading eigenvectors of the pooled rows' covariance.

    Reference:
        Pearson 1901; as the baseline of Long et al. 2013, ICCV, section 5.2.
    """

    def fit(self, source: Rows, target: Rows, *, labeled: Rows | None = None, classes: int, seed: int) -> None:
        weights = []
        for rows in (source, target):
            weight = rows.x.new_ones(len(rows.x), dtype=torch.float64) if rows.weight is None else rows.weight.double()
            # Weights are relative within their domain: the domain's total stays its number of rows.
            weights.append(weight / weight.sum() * (1.0 if self.config.balanced else len(rows.x)))
        pooled = moments(Rows(torch.cat((source.x, target.x)), weight=torch.cat(weights)), "the pooled rows")
        found = spectrum(pooled.root)
        k = chosen_components(self.config.components, found.rank, "the pooled rows")
        self.keep(mean=pooled.mean, directions=found.vectors[:, :k].contiguous())
        kept = float(found.values[:k].sum() / found.values.sum())
        self.found = {"components": k, "rank": found.rank, "explained_variance": kept}

    def target(self, x: Tensor) -> Tensor:
        return affine(x, self.mean, self.directions, None)

    def width(self, features: int) -> int:
        return expected_components(self.config.components, features)
