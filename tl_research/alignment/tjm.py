"""Transfer joint matching."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tl_research.alignment.base import Rows, register_alignment
from tl_research.alignment.components import HELD_UP_TO, components_of_scatter, scatter_of
from tl_research.alignment.components import components as leading
from tl_research.alignment.mmd_matrix import marginal_factor, unit_norm
from tl_research.alignment.projection import Domains, Projection, ProjectionConfig
from tl_research.config import check


@dataclass
class TJMConfig(ProjectionConfig):
    """Options of `tjm`: those of the projections, and the number of rounds; it has no `primal` kernel."""

    kernels = ("linear", "rbf", "laplacian")

    components: int = 20
    kernel: str = "linear"
    #: Above `exact_rows`, z(x) is a sum over so many drawn rows, and only these can be let go; with all rows the same.
    landmarks: int = 1000
    iterations: int = 10  # rounds; the first has G = I and is TCA

    def __post_init__(self):
        super().__post_init__()
        check(self.iterations >= 1, "iterations", self.iterations, "at least 1")


@register_alignment(
    "tjm",
    config=TJMConfig,
    paper="Long et al. 2014, CVPR, eq. 9 and algorithm 1",
    problem=("method.components=3",),
    gain=0.02,
    over=("joint_pca", "method.components=3"),
)
class TJM(Projection):
    """Matches the domains' means and lets go of the source rows that are unlike the target, in one objective.

    min_A tr(Aᵀ K M_0 K A) + λ (||A_s||_{2,1} + ||A_t||²_F)  subject to  Aᵀ K H K A = I, by re-weighted rounds: with
    G_ii = 1 / (2 ||a_i||) on source rows and 1 on target rows, the leading eigenvectors of (K M_0 K + λ G)⁻¹ K H K.
    A source row whose a_i vanishes is no longer compared with.

    Under the printed constraint (`scaling=variance`) the ||a_i|| are small where there are many rows, where a norm
    costs more than its square, and after some rounds nearly all source rows are let go. The authors' code takes
    eigenvectors of length 1 in every round (`scaling=weights`), which is milder and no longer one objective.

    Reference:
        Long, Wang, Ding, Sun & Yu 2014, CVPR, eq. 9-12 and algorithm 1.
    """

    def fit(self, source: Rows, target: Rows, *, labeled: Rows | None = None, classes: int, seed: int) -> None:
        domains = Domains(source, target, labeled, classes)
        base, _ = self.map.fit_anchored(domains.x, seed=seed)
        self.check_spread(base)
        of_source = self.map.chosen < domains.n
        factor = marginal_factor(*domains.sides)
        if self.config.unit_norm:
            factor = unit_norm(factor)
        # A = G^-1/2 B turns λ tr(AᵀGA) into λ||B||² and K into K G^-1/2; a row let go is a column of zeros there.
        root = base.new_ones(base.shape[1])
        start = None
        held = not self.map.symmetric and base.shape[1] <= HELD_UP_TO
        scatter, pulled = (scatter_of(base), base.T @ factor) if held else (None, None)
        settings = {"count": self.config.components, "regularizer": self.config.regularizer}
        for done in range(self.config.iterations):
            if held:
                scaled = components_of_scatter(
                    scatter * root * root[:, None], root[:, None] * pulled, start=start, **settings
                )
            else:
                symmetric = self.map.symmetric and done == 0
                scaled = leading(base * root, factor, symmetric=symmetric, start=start, **settings)
            weights = root[:, None] * scaled
            if self.config.scaling == "weights":
                weights = weights / weights.norm(dim=0)
            length = weights.norm(dim=1)
            root = torch.where(of_source, (2 * length).sqrt(), 1.0)
            start = weights
        self.embed(base, None, weights)
        reach = length[of_source]
        self.found = {
            "rounds": self.config.iterations,
            "source_rows_let_go": int((reach < 1e-3 * reach.max()).sum()) if len(reach) else 0,
        }
