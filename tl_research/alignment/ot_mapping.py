"""Optimal transport of the source onto the target."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_research.alignment.base import Alignment, Rows, register_alignment
from tl_research.alignment.transport.class_regularized import class_purity, class_regularized
from tl_research.alignment.transport.cost import squared_euclidean, unit_of
from tl_research.alignment.transport.exact import exact_plan
from tl_research.alignment.transport.extension import entropic_map, nearest_displacement
from tl_research.alignment.transport.group_lasso import group_lasso
from tl_research.alignment.transport.landmarks import centroids
from tl_research.alignment.transport.sinkhorn import Coupling, barycentric, sinkhorn
from tl_research.config import check, check_choice
from tl_research.errors import ConfigError

#: Evenly spaced rows per side whose costs give the unit, where the matrix of all is not made.
UNIT_ROWS = 2000
#: Those that know the source's classes.
BY_CLASS = {"class_regularized": class_regularized, "group_lasso": group_lasso}
SOLVERS = ("entropic", "exact", *BY_CLASS)


@dataclass
class OTMappingConfig:
    """Options of `ot_mapping`: the transport problem, its unit, how far it is solved, and which rows take part."""

    solver: str = (
        "entropic"  # exact, or by the source's classes class_regularized (concave, local), group_lasso (convex)
    )
    regularization: float = 0.1  # eps of the entropy, times the unit of the cost
    unit: str = "median"  # of the cost matrix; or mean, max, none. What regularization and class_weight count in
    class_weight: float = 0.1  # eta of the group term of class_regularized and group_lasso, times the unit of the cost
    tolerance: float = 1e-6  # on sum_i |row sum_i - a_i| of the plan
    max_iterations: int = 1000  # of each entropic problem
    #: `all`: every row, whatever memory it takes. `landmarks`: k-means centroids stand for the rows of each side, and
    #: every row moves by the entropic map onto the target's centroids. `auto`: all rows up to `dense_rows` per side,
    #: landmarks above.
    rows: str = "auto"
    dense_rows: int = 10_000
    landmarks: int = 2000  # centroids per side
    out_of_sample: str = "nearest"  # or entropic, the smooth map of the potentials (the entropic solver only)

    def __post_init__(self):
        check_choice("solver", self.solver, SOLVERS)
        check_choice("unit", self.unit, ("median", "mean", "max", "none"))
        check_choice("rows", self.rows, ("auto", "all", "landmarks"))
        check_choice("out_of_sample", self.out_of_sample, ("nearest", "entropic"))
        check(self.regularization > 0, "regularization", self.regularization, "a number above 0")
        check(self.class_weight >= 0, "class_weight", self.class_weight, "0 or more")
        check(self.tolerance > 0, "tolerance", self.tolerance, "a number above 0")
        check(self.max_iterations >= 1, "max_iterations", self.max_iterations, "1 or more")
        check(self.dense_rows >= 1, "dense_rows", self.dense_rows, "1 or more")
        check(self.landmarks >= 2, "landmarks", self.landmarks, "2 or more")
        if self.solver != "entropic":
            wants = f"'nearest' with solver={self.solver}"
            check(self.out_of_sample == "nearest", "out_of_sample", self.out_of_sample, wants)
            check(self.rows != "landmarks", "rows", self.rows, "'landmarks' with solver=entropic only")


@register_alignment(
    "ot_mapping", config=OTMappingConfig, paper="Courty et al. 2017, IEEE TPAMI 39(9), eq. 14", gain=0.05
)
class OTMapping(Alignment):
    """Move each source row to the mean of the target rows its mass goes to; target rows stay.

    x_i -> sum_j P_ij y_j / sum_j P_ij, P the optimal plan for the squared Euclidean cost. Rows that were not in the
    fit move by the displacement of the nearest row that was (`out_of_sample="nearest"`) or by the smooth map that
    the potentials define (`"entropic"`, the entropic solver only).

    Rows of weight 0 have no part in the fit.

    Raises:
        ConfigError: a value out of range; or a solver other than the entropic one above `dense_rows` rows.

    Reference:
        Courty et al. 2017, IEEE TPAMI 39(9), eq. 14 and 16, section 4.
    """

    def fit(self, source: Rows, target: Rows, *, labeled: Rows | None = None, classes: int, seed: int) -> None:
        self._buffers.clear()  # a second fit may take another path, with other buffers
        self._kept.clear()
        x, label, a = _present(source)
        y, _, b = _present(target)
        largest = max(len(x), len(y))
        if self.config.rows == "landmarks" or (self.config.rows == "auto" and largest > self.config.dense_rows):
            self._fit_landmarks(x, a, y, b, seed)
        else:
            self._fit_all(x, label, a, y, b, classes)

    def source(self, x: Tensor) -> Tensor:
        if "potential" in self._buffers:
            return entropic_map(x, self.support, self.potential, float(self.eps)).to(x.dtype)
        return nearest_displacement(x, self.fitted, self.displacement).to(x.dtype)

    def target(self, x: Tensor) -> Tensor:
        return x

    def _fit_all(self, x: Tensor, label: Tensor | None, a: Tensor, y: Tensor, b: Tensor, classes: int) -> None:
        cost = squared_euclidean(x, y)
        unit = unit_of(cost, self.config.unit)
        if self.config.solver == "exact":
            plan = exact_plan(cost, a, b)
            self.found = {"path": "exact", "cost": float(torch.dot(plan.reshape(-1), cost.reshape(-1)))}
        else:
            found = self._coupling(cost, a, b, unit, label, classes)
            plan = found.plan
            self.found = {
                "path": self.config.solver,
                "cost": float(torch.dot(plan.reshape(-1), cost.reshape(-1))),
                **self._convergence(found, unit),
            }
            if self.config.solver in BY_CLASS:
                self.found["class_purity"] = float(class_purity(plan, label, classes).mean())
            elif self.config.out_of_sample == "entropic":
                self._keep_potential(y.double(), found.g, self.config.regularization * unit)
                return
        self.keep(fitted=x, displacement=(barycentric(plan, y) - x.double()).to(x.dtype))

    def _coupling(
        self, cost: Tensor, a: Tensor, b: Tensor, unit: float, label: Tensor | None, classes: int
    ) -> Coupling:
        options = {
            "regularization": self.config.regularization * unit,
            "tolerance": self.config.tolerance,
            "max_iterations": self.config.max_iterations,
        }
        if self.config.solver == "entropic":
            return sinkhorn(cost, a, b, **options)
        if label is None:
            raise ConfigError(f"solver: {self.config.solver!r} needs the source's classes")
        solve = BY_CLASS[self.config.solver]
        return solve(cost, a, b, label, classes=classes, class_weight=self.config.class_weight * unit, **options)

    def _fit_landmarks(self, x: Tensor, a: Tensor, y: Tensor, b: Tensor, seed: int) -> None:
        if self.config.solver != "entropic":
            raise ConfigError(
                f"solver: {self.config.solver!r} holds every pair of rows, and {max(len(x), len(y))} rows are more "
                f"than dense_rows={self.config.dense_rows}; take solver=entropic, or rows=all"
            )
        x_centre, x_mass = centroids(x, a, self.config.landmarks, seed=seed)
        y_centre, y_mass = centroids(y, b, self.config.landmarks, seed=seed + 1)
        # Of the rows, not of the centroids, which lie closer together: eps is then that of all rows.
        unit = unit_of(squared_euclidean(_spaced(x), _spaced(y)), self.config.unit)
        cost = squared_euclidean(x_centre, y_centre)
        found = self._coupling(cost, x_mass, y_mass, unit, None, 0)
        self.found = {"path": "landmarks", "source_landmarks": len(x_centre), "target_landmarks": len(y_centre)}
        self.found |= self._convergence(found, unit)
        self._keep_potential(y_centre, found.g, self.config.regularization * unit)

    def _keep_potential(self, support: Tensor, potential: Tensor, eps: float) -> None:
        self.keep(support=support, potential=potential, eps=torch.tensor(eps, dtype=torch.float64))

    def _convergence(self, found: Coupling, unit: float) -> dict[str, float | int | str]:
        return {
            **({} if found.gap is None else {"gap": found.gap}),
            "regularization": self.config.regularization * unit,
            "iterations": found.iterations,
            "marginal_error": found.error,
            "converged": int(found.converged),
        }


def _spaced(x: Tensor) -> Tensor:
    count = min(len(x), UNIT_ROWS)
    return x[torch.arange(count, device=x.device) * len(x) // count]


def _present(rows: Rows) -> tuple[Tensor, Tensor | None, Tensor]:
    """Return rows of weight above 0, their labels, and their weights as float64 of sum 1."""
    x, label, weight = rows
    if weight is None:
        return x, label, torch.full((len(x),), 1 / len(x), dtype=torch.float64, device=x.device)
    present = weight > 0
    weight = weight[present].double()
    return x[present], None if label is None else label[present], weight / weight.sum()
