"""Optimal transport between two Gaussians: an affine map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.alignment.base import Alignment, Rows, register_alignment
from tl_research.alignment.linear import affine, joint_basis, keep_basis, moments
from tl_research.config import check


@dataclass
class LinearMongeConfig:
    """Options of `linear_monge`: what is added to both covariances, C + λI."""

    #: λ, added to both covariances, in squared units of the features. Where the source hardly varies and the target
    #: does, A grows like (C_t / λ)^1/2, which new source rows feel.
    ridge: float = 1e-6

    def __post_init__(self):
        check(self.ridge > 0, "ridge", self.ridge, "a number above 0")


@register_alignment(
    "linear_monge",
    config=LinearMongeConfig,
    paper="Knott & Smith 1984; Flamary et al. 2019, arXiv:1905.10155, eq. 5",
    gain=0.06,
)
class LinearMonge(Alignment):
    """Linear Monge map: the cheapest map that gives the source the target's mean and covariance; target rows stay.

    Source: x -> (x - μ_s) A + μ_t,  A = C_s^-1/2 (C_s^1/2 C_t C_s^1/2)^1/2 C_s^-1/2,  each C with λI added.

    Reference:
        Knott & Smith 1984, J. Optim. Theory Appl. 43; Flamary et al. 2019, arXiv:1905.10155, eq. 5.
    """

    def fit(self, source: Rows, target: Rows, *, labeled: Rows | None = None, classes: int, seed: int) -> None:
        from_, to = moments(source, "the source"), moments(target, "the target")
        basis = joint_basis(from_.root, to.root)
        roots = [side.root if basis is None else side.root @ basis for side in (from_, to)]
        axes_from, axes_to = (torch.linalg.eigh(root.T @ root) for root in roots)
        scale_from, scale_to = ((axes[0].clamp_min(0) + self.config.ridge).sqrt() for axes in (axes_from, axes_to))
        # With F = C_t^1/2 C_s^1/2 = U Σ V' the middle factor is V Σ V'. An eigen-decomposition of F'F would know Σ
        # to half the digits only, which C_s^-1/2 then multiplies by 1/λ where the source has no variance.
        product = scale_to[:, None] * (axes_to[1].T @ axes_from[1]) * scale_from
        _, singular, vt = torch.linalg.svd(product)
        half = axes_from[1] @ (vt.T / scale_from[:, None] * singular.sqrt())
        matrix = half @ half.T
        self.keep(source_mean=from_.mean, target_mean=to.mean, matrix=matrix)
        keep_basis(self, basis)
        self.found = {"ridge": self.config.ridge, "largest_stretch": float(torch.linalg.eigvalsh(matrix)[-1])}

    def source(self, x: Tensor) -> Tensor:
        return affine(x, self.source_mean, self.matrix, self.target_mean, self._buffers.get("basis"))

    def target(self, x: Tensor) -> Tensor:
        return x
