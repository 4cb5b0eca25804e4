"""Exact optimal transport: the linear programme."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment, linprog
from scipy.sparse import identity, kron, vstack
from torch import Tensor

from tl_research.errors import ConfigError

#: Plan entries that scipy's general solver is given: half a minute on one core.
LINPROG_ENTRIES = 90_000

#: Largest costs for which the solvers' absolute tolerances are small.
USUAL = (1e-3, 1e9)


def exact_plan(cost: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Minimise <P, C> over P >= 0 with P 1 = a and P' 1 = b, at a vertex.

    By the network simplex of POT (extra `ot`). Without it, as many rows as columns, all of one weight, are an
    assignment problem (scipy, half as fast), and small problems of other kinds go to scipy's HiGHS.

    Args:
        cost: (n, m) float64, finite.
        a, b: (n,), (m,) float64, > 0, sum 1.

    Returns:
        (n, m) float64 plan on the device of the cost, at most n + m - 1 entries above 0.

    Raises:
        ConfigError: unequal sizes or weights without POT and more than `LINPROG_ENTRIES` entries.

    Reference:
        Kantorovich 1942; Courty et al. 2017, IEEE TPAMI 39(9), eq. 5.
    """
    matrix, a, b = (part.cpu().numpy() for part in (cost, a, b))
    largest = float(matrix.max(initial=0.0))
    if largest > 0 and not USUAL[0] <= largest <= USUAL[1]:
        matrix = matrix * 2.0 ** -math.floor(math.log2(largest))  # exact, and no unit changes the plan
    return torch.from_numpy(_plan(matrix, a, b)).to(cost.device)


def _plan(cost: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    try:
        import ot
    except ImportError:
        return _plan_without_pot(cost, a, b)
    plan, log = ot.emd(a, b, cost, numItermax=10_000_000, log=True)
    if log["warning"] is not None:
        raise RuntimeError(f"ot.emd: {log['warning']}")
    return np.asarray(plan)


def _plan_without_pot(cost: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    n, m = cost.shape
    if n == m and _equal(a) and _equal(b):
        plan = np.zeros_like(cost)
        plan[linear_sum_assignment(cost)] = 1 / n
        return plan
    if cost.size <= LINPROG_ENTRIES:
        return highs_plan(cost, a, b)
    raise ConfigError(
        f"solver: 'exact' with {n} and {m} rows needs POT unless sizes and weights are equal: "
        "pip install 'tl_research[ot]', or solver=entropic"
    )


def _equal(weight: np.ndarray) -> bool:
    return bool(np.abs(weight - weight.mean()).max() <= 1e-12 * weight.mean())


def highs_plan(cost: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The same by scipy's HiGHS; one of the n + m constraints follows from the rest and is left out.

    Raises:
        RuntimeError: the solver found no optimum; its message.
    """
    n, m = cost.shape
    rows = kron(identity(n), np.ones((1, m)), format="csr")
    columns = kron(np.ones((1, n)), identity(m), format="csr")[: m - 1]
    found = linprog(cost.ravel(), A_eq=vstack([rows, columns]), b_eq=np.concatenate([a, b[:-1]]), method="highs")
    if found.x is None:
        raise RuntimeError(f"linprog: {found.message}")
    return found.x.reshape(n, m)
