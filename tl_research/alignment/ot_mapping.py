"""Optimal transport of the source onto the target."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_research.alignment.base import Alignment, Rows
from tl_research.alignment.transport.class_regularized import class_purity, class_regularized
from tl_research.alignment.transport.cost import squared_euclidean, unit_of
from tl_research.alignment.transport.exact import exact_plan
from tl_research.alignment.transport.extension import entropic_map, nearest_displacement
from tl_research.alignment.transport.group_lasso import group_lasso
from tl_research.alignment.transport.landmarks import centroids
from tl_research.alignment.transport.sinkhorn import Coupling, barycentric, sinkhorn
from tl_research.config import check, check_choice
from tl_research.errors import ConfigError

#: Evenly spaced rows a side whose costs give the unit, where the matrix of all is not made.
UNIT_ROWS = 2000
#: Those that know the source's classes.
BY_CLASS = {"class_regularized": class_regularized, "group_lasso": group_lasso}
SOLVERS = ("entropic", "exact", *BY_CLASS)


class OTMapping(Alignment):
    """Move each source row to the mean of the target rows its mass goes to; target rows stay.

    x_i -> sum_j P_ij y_j / sum_j P_ij, P the optimal plan for the squared Euclidean cost. Rows that were not in the
    fit move by the displacement of the nearest row that was (`out_of_sample="nearest"`) or by the smooth map that
    the potentials define (`"entropic"`, the entropic solver only).

    Rows of weight 0 have no part in the fit.

    Args:
        solver: `entropic`, `exact`, or by the source's classes `class_regularized` (concave, local) or `group_lasso`
            (convex).
        regularization: eps of the entropy, times the unit of the cost.
        unit: `median`, `mean` or `max` of the cost matrix, or `none`; what regularization and class_weight count in.
        class_weight: eta of the group term of `class_regularized` and `group_lasso`, times the unit of the cost.
        tolerance: on sum_i |row sum_i - a_i| of the plan.
        max_iterations: of each entropic problem.
        rows: `all`: every row, whatever memory it takes; `landmarks`: k-means centroids stand for the rows of each
            side, and every row moves by the entropic map onto the target's centroids; `auto`: all rows up to
            `dense_rows` a side, landmarks above.
        dense_rows: see `rows`.
        landmarks: centroids a side.
        out_of_sample: `nearest` or `entropic`.

    Raises:
        ConfigError: a value out of range; or a solver other than the entropic one above `dense_rows` rows.

    Reference:
        Courty et al. 2017, IEEE TPAMI 39(9), eq. 14 and 16, section 4.
    """

    def __init__(
        self,
        *,
        solver: str = "entropic",
        regularization: float = 0.1,
        unit: str = "median",
        class_weight: float = 0.1,
        tolerance: float = 1e-6,
        max_iterations: int = 1000,
        rows: str = "auto",
        dense_rows: int = 10_000,
        landmarks: int = 2000,
        out_of_sample: str = "nearest",
    ):
        super().__init__()
        check_choice("method.solver", solver, SOLVERS)
        check_choice("method.unit", unit, ("median", "mean", "max", "none"))
        check_choice("method.rows", rows, ("auto", "all", "landmarks"))
        check_choice("method.out_of_sample", out_of_sample, ("nearest", "entropic"))
        check(regularization > 0, "method.regularization", regularization, "a number above 0")
        check(class_weight >= 0, "method.class_weight", class_weight, "0 or more")
        check(tolerance > 0, "method.tolerance", tolerance, "a number above 0")
        check(max_iterations >= 1, "method.max_iterations", max_iterations, "1 or more")
        check(dense_rows >= 1, "method.dense_rows", dense_rows, "1 or more")
        check(landmarks >= 2, "method.landmarks", landmarks, "2 or more")
        if solver != "entropic":
            check(out_of_sample == "nearest", "method.out_of_sample", out_of_sample, f"'nearest' with solver={solver}")
            check(rows != "landmarks", "method.rows", rows, "'landmarks' with solver=entropic only")
        self.solver, self.regularization, self.unit, self.class_weight = solver, regularization, unit, class_weight
        self.tolerance, self.max_iterations = tolerance, max_iterations
        self.rows, self.dense_rows, self.landmarks, self.out_of_sample = rows, dense_rows, landmarks, out_of_sample
        self._facts: dict[str, float | int | str] = {}

    def fit(self, source: Rows, target: Rows, *, labeled: Rows | None = None, classes: int, seed: int) -> None:
        self._buffers.clear()  # a second fit may take another path, with other buffers
        self._kept.clear()
        x, label, a = _present(source)
        y, _, b = _present(target)
        largest = max(len(x), len(y))
        if self.rows == "landmarks" or (self.rows == "auto" and largest > self.dense_rows):
            self._fit_landmarks(x, a, y, b, seed)
        else:
            self._fit_all(x, label, a, y, b, classes)

    def source(self, x: Tensor) -> Tensor:
        if "potential" in self._buffers:
            return entropic_map(x, self.support, self.potential, float(self.eps)).to(x.dtype)
        return nearest_displacement(x, self.fitted, self.displacement).to(x.dtype)

    def target(self, x: Tensor) -> Tensor:
        return x

    def facts(self) -> dict[str, float | int | str]:
        return dict(self._facts)

    def _fit_all(self, x: Tensor, label: Tensor | None, a: Tensor, y: Tensor, b: Tensor, classes: int) -> None:
        cost = squared_euclidean(x, y)
        unit = unit_of(cost, self.unit)
        if self.solver == "exact":
            plan = exact_plan(cost, a, b)
            self._facts = {"path": "exact", "cost": float(torch.dot(plan.reshape(-1), cost.reshape(-1)))}
        else:
            found = self._coupling(cost, a, b, unit, label, classes)
            plan = found.plan
            self._facts = {
                "path": self.solver,
                "cost": float(torch.dot(plan.reshape(-1), cost.reshape(-1))),
                **self._convergence(found, unit),
            }
            if self.solver in BY_CLASS:
                self._facts["class_purity"] = float(class_purity(plan, label, classes).mean())
            elif self.out_of_sample == "entropic":
                self._keep_potential(y.double(), found.g, self.regularization * unit)
                return
        self.keep(fitted=x, displacement=(barycentric(plan, y) - x.double()).to(x.dtype))

    def _coupling(
        self, cost: Tensor, a: Tensor, b: Tensor, unit: float, label: Tensor | None, classes: int
    ) -> Coupling:
        options = {
            "regularization": self.regularization * unit,
            "tolerance": self.tolerance,
            "max_iterations": self.max_iterations,
        }
        if self.solver == "entropic":
            return sinkhorn(cost, a, b, **options)
        if label is None:
            raise ConfigError(f"method.solver: {self.solver!r} needs the source's classes")
        solve = BY_CLASS[self.solver]
        return solve(cost, a, b, label, classes=classes, class_weight=self.class_weight * unit, **options)

    def _fit_landmarks(self, x: Tensor, a: Tensor, y: Tensor, b: Tensor, seed: int) -> None:
        if self.solver != "entropic":
            raise ConfigError(
                f"method.solver: {self.solver!r} holds every pair of rows, and {max(len(x), len(y))} rows are more "
                f"than method.dense_rows={self.dense_rows}; take method.solver=entropic, or method.rows=all"
            )
        x_centre, x_mass = centroids(x, a, self.landmarks, seed=seed)
        y_centre, y_mass = centroids(y, b, self.landmarks, seed=seed + 1)
        # Of the rows, not of the centroids, which lie closer together: eps is then that of all rows.
        unit = unit_of(squared_euclidean(_spaced(x), _spaced(y)), self.unit)
        cost = squared_euclidean(x_centre, y_centre)
        found = self._coupling(cost, x_mass, y_mass, unit, None, 0)
        self._facts = {"path": "landmarks", "source_landmarks": len(x_centre), "target_landmarks": len(y_centre)}
        self._facts |= self._convergence(found, unit)
        self._keep_potential(y_centre, found.g, self.regularization * unit)

    def _keep_potential(self, support: Tensor, potential: Tensor, eps: float) -> None:
        self.keep(support=support, potential=potential, eps=torch.tensor(eps, dtype=torch.float64))

    def _convergence(self, found: Coupling, unit: float) -> dict[str, float | int | str]:
        return {
            **({} if found.gap is None else {"gap": found.gap}),
            "regularization": self.regularization * unit,
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
