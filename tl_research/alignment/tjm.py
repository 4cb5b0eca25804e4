"""Transfer joint matching."""

from __future__ import annotations

import torch

from tl_research.alignment.base import Rows
from tl_research.alignment.components import HELD_UP_TO, components_of_scatter, scatter_of
from tl_research.alignment.components import components as leading
from tl_research.alignment.kernel_map import KernelMap
from tl_research.alignment.mmd_matrix import marginal_factor, unit_norm
from tl_research.alignment.projection import Domains, Projection
from tl_research.config import check, check_choice


class TJM(Projection):
    """Matches the domains' means and lets go of the source rows that are unlike the target, in one objective.

    min_A tr(Aᵀ K M_0 K A) + λ (||A_s||_{2,1} + ||A_t||²_F)  subject to  Aᵀ K H K A = I, by re-weighted rounds: with
    G_ii = 1 / (2 ||a_i||) on source rows and 1 on target rows, the leading eigenvectors of (K M_0 K + λ G)⁻¹ K H K.
    A source row whose a_i vanishes is no longer compared with.

    Under the printed constraint (`scaling=variance`) the ||a_i|| are small where there are many rows, where a norm
    costs more than its square, and after some rounds nearly all source rows are let go. The authors' code takes
    eigenvectors of length 1 in every round (`scaling=weights`), which is milder and no longer one objective.

    Args:
        components, regularizer, bandwidth, unit_norm, scaling, unit_length, centred: as of `MMDProjection`.
        kernel: `linear`, `rbf` or `laplacian`.
        iterations: rounds; the first has G = I and is TCA.
        exact_rows: most rows of both domains whose kernel matrix is made.
        landmarks: above, z(x) is a sum over that many drawn rows, and only these can be let go; with all rows the same.

    Reference:
        Long, Wang, Ding, Sun & Yu 2014, CVPR, eq. 9-12 and algorithm 1.
    """

    def __init__(
        self,
        *,
        components: int = 20,
        regularizer: float = 1.0,
        kernel: str = "linear",
        bandwidth: float | str = "median",
        exact_rows: int = 5000,
        landmarks: int = 1000,
        unit_norm: bool = True,
        scaling: str = "weights",
        unit_length: bool = False,
        centred: bool = True,
        iterations: int = 10,
    ):
        check_choice("method.kernel", kernel, ("linear", "rbf", "laplacian"))
        check(iterations >= 1, "method.iterations", iterations, "at least 1")
        super().__init__(
            components=components,
            regularizer=regularizer,
            map=KernelMap(kernel=kernel, bandwidth=bandwidth, exact_rows=exact_rows, landmarks=landmarks),
            unit_norm=unit_norm,
            scaling=scaling,
            unit_length=unit_length,
            centred=centred,
        )
        self.iterations = iterations

    def fit(self, source: Rows, target: Rows, *, labeled: Rows | None = None, classes: int, seed: int) -> None:
        domains = Domains(source, target, labeled, classes)
        base, _ = self.map.fit_anchored(domains.x, seed=seed)
        self.check_spread(base)
        of_source = self.map.chosen < domains.n
        factor = marginal_factor(*domains.sides)
        if self.unit_norm:
            factor = unit_norm(factor)
        # A = G^-1/2 B turns λ tr(AᵀGA) into λ||B||² and K into K G^-1/2; a row let go is a column of zeros there.
        root = base.new_ones(base.shape[1])
        start = None
        held = not self.map.symmetric and base.shape[1] <= HELD_UP_TO
        scatter, pulled = (scatter_of(base), base.T @ factor) if held else (None, None)
        settings = {"count": self.components, "regularizer": self.regularizer}
        for done in range(self.iterations):
            if held:
                scaled = components_of_scatter(
                    scatter * root * root[:, None], root[:, None] * pulled, start=start, **settings
                )
            else:
                symmetric = self.map.symmetric and done == 0
                scaled = leading(base * root, factor, symmetric=symmetric, start=start, **settings)
            weights = root[:, None] * scaled
            if self.scaling == "weights":
                weights = weights / weights.norm(dim=0)
            length = weights.norm(dim=1)
            root = torch.where(of_source, (2 * length).sqrt(), 1.0)
            start = weights
        self.embed(base, None, weights)
        reach = length[of_source]
        self._facts = {
            "rounds": self.iterations,
            "source_rows_let_go": int((reach < 1e-3 * reach.max()).sum()) if len(reach) else 0,
        }
