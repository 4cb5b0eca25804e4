"""Correlation alignment in closed form."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.alignment.base import Alignment, Rows, register_alignment
from tl_research.alignment.linear import affine, joint_basis, keep_basis, matrix_power, moments
from tl_research.config import check


@dataclass
class CORALConfig:
    """Options of `coral`: what is added to both covariances, C + λI, and whether the mean moves too."""

    ridge: float = 1.0  # λ, in squared units of the features; the paper's 1 is meant for columns of unit variance
    match_means: bool = True  # move the mean too: the paper assumes that both domains were centred before

    def __post_init__(self):
        check(self.ridge > 0, "ridge", self.ridge, "a number above 0")


@register_alignment("coral", config=CORALConfig, paper="Sun, Feng & Saenko 2016, AAAI, algorithm 1", gain=0.06)
class CORAL(Alignment):
    """CORAL: whiten the source, colour it with the target's covariance; target rows stay.

    Source: x -> (x - μ_s) (C_s + λI)^-1/2 (C_t + λI)^1/2 + μ_t, or + μ_s without `match_means`.

    Reference:
        Sun, Feng & Saenko 2016, AAAI, algorithm 1.
    """

    def fit(self, source: Rows, target: Rows, *, labeled: Rows | None = None, classes: int, seed: int) -> None:
        from_, to = moments(source, "the source"), moments(target, "the target")
        basis = joint_basis(from_.root, to.root)
        roots = [side.root if basis is None else side.root @ basis for side in (from_, to)]
        white, colour = (
            matrix_power(root.T @ root, exponent, self.config.ridge)
            for root, exponent in zip(roots, (-0.5, 0.5), strict=True)
        )
        self.keep(
            source_mean=from_.mean, moved_mean=to.mean if self.config.match_means else from_.mean, matrix=white @ colour
        )
        keep_basis(self, basis)
        self.found = {"ridge": self.config.ridge, "rank_bound": len(white)}

    def source(self, x: Tensor) -> Tensor:
        return affine(x, self.source_mean, self.matrix, self.moved_mean, self._buffers.get("basis"))

    def target(self, x: Tensor) -> Tensor:
        return x
