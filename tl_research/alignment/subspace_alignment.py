"""Alignment of two principal subspaces."""

from __future__ import annotations

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


@register_alignment(
    "subspace_alignment", config=ComponentsConfig, paper="Fernando et al. 2013, ICCV, algorithm 1", gain=0.06
)
class SubspaceAlignment(Alignment):
    """Subspace alignment: turn the source's principal axes into the target's.

    Source: x -> (x - μ_s) P_s M with M = P_s' P_t, which minimises ||P_s M - P_t||_F; target: x -> (x - μ_t) P_t.

    Reference:
        Fernando et al. 2013, ICCV, eq. 1 to 3 and algorithm 1.
    """

    def fit(self, source: Rows, target: Rows, *, labeled: Rows | None = None, classes: int, seed: int) -> None:
        from_, to = moments(source, "the source"), moments(target, "the target")
        axes_from, axes_to = spectrum(from_.root), spectrum(to.root)
        smaller = "the source" if axes_from.rank <= axes_to.rank else "the target"
        k = chosen_components(self.config.components, min(axes_from.rank, axes_to.rank), smaller)
        p_s, p_t = axes_from.vectors[:, :k], axes_to.vectors[:, :k].contiguous()
        self.keep(source_mean=from_.mean, target_mean=to.mean, source_axes=p_s @ (p_s.T @ p_t), target_axes=p_t)
        self.found = {"components": k, "source_rank": axes_from.rank, "target_rank": axes_to.rank}

    def source(self, x: Tensor) -> Tensor:
        return affine(x, self.source_mean, self.source_axes, None)

    def target(self, x: Tensor) -> Tensor:
        return affine(x, self.target_mean, self.target_axes, None)

    def width(self, features: int) -> int:
        return expected_components(self.config.components, features)
