"""Entropic optimal transport."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

#: Scalings are absorbed into the potentials once one is above e^ABSORB or below e^-ABSORB. Kernel entries that have
#: underflowed (below e^-745) are then still nothing after scaling by both sides.
ABSORB = 100.0
#: The error is read this rarely, because reading it waits for an accelerator.
CHECK_EVERY = 10
#: Entries of the temporary of one log-sum-exp.
CHUNK_ENTRIES = 1 << 18


class Coupling(NamedTuple):
    """A transport plan and how it was come by.

    Fields:
        plan: (n, m) float64, >= 0; columns sum to b exactly, rows to a within `error`.
        f, g: (n,), (m,) float64 dual potentials, in the unit of the cost.
        error: sum_i |row sum_i - a_i|.
        iterations: updates of both potentials.
        converged: whether `error` is at most the tolerance (and `gap` too, where there is one).
        gap: bound on the objective less its minimum, of a solver that has one.
    """

    plan: Tensor
    f: Tensor
    g: Tensor
    error: float
    iterations: int
    converged: bool
    gap: float | None = None


def sinkhorn(
    cost: Tensor,
    a: Tensor,
    b: Tensor,
    *,
    regularization: float,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
    g: Tensor | None = None,
) -> Coupling:
    """Minimise <P, C> + eps sum_ij P_ij (log P_ij - 1) over P >= 0 with P 1 = a and P' 1 = b.

    Alternates f_i = eps log a_i - eps log sum_j exp((g_j - c_ij) / eps) and the like for g. Most updates are
    matrix-vector products with K_ij = exp((f_i + g_j - c_ij) / eps) for potentials held fixed, on scalings u and v;
    these are absorbed into the potentials, with one update in the log domain, when they grow. So it is as fast as
    plain scaling and has no smallest eps.

    Args:
        cost: (n, m) float64, finite.
        a: (n,) float64, > 0, sum 1.
        b: (m,) float64, > 0, sum 1.
        regularization: eps > 0, in the unit of the cost.
        tolerance: on sum_i |row sum_i - a_i|.
        max_iterations: at most so many updates of both potentials.
        g: (m,) potentials to begin with, in the unit of the cost; None for 0.

    Returns:
        The plan; not converging is said in it.

    Reference:
        Cuturi 2013, NeurIPS, algorithm 1; Schmitzer 2019, SIAM J. Sci. Comput. 41(3), algorithm 2 (absorption).
    """
    scaled = cost / -regularization
    log_a, log_b = a.log(), b.log()
    beta = torch.zeros_like(b) if g is None else g / regularization
    iterations, error = 0, float("inf")
    kernel = torch.empty_like(scaled)
    while True:
        # In the log domain: right whatever the size of the potentials.
        alpha = log_a - _row_logsumexp(scaled, beta)
        beta = log_b - _row_logsumexp(scaled.T, alpha)
        iterations += 1
        _fill(kernel, scaled, alpha, beta)
        u, v = torch.ones_like(a), torch.ones_like(b)
        while True:
            row = kernel @ v
            error = float((u * row - a).abs().sum())
            if error <= tolerance or iterations >= max_iterations:
                break
            last_u, last_v = u, v
            steps = min(CHECK_EVERY, max_iterations - iterations)
            for _ in range(steps):
                u = a / row
                v = b / (kernel.T @ u)
                row = kernel @ v
            largest = float(torch.cat((u, v)).log().abs().max())  # nan and inf where a scaling is
            if not largest < 700:
                # Too far for this kernel: back to the last state that was right, and on in the log domain.
                u, v = last_u, last_v
                break
            iterations += steps
            if largest > ABSORB:
                break
        alpha, beta = alpha + u.log(), beta + v.log()
        if error <= tolerance or iterations >= max_iterations:
            plan = kernel.mul_(u[:, None]).mul_(v)
            error = float((plan.sum(dim=1) - a).abs().sum())
            f, g = alpha * regularization, beta * regularization
            return Coupling(plan, f, g, error, iterations, error <= tolerance)


def barycentric(plan: Tensor, y: Tensor) -> Tensor:
    """Return sum_j P_ij y_j / sum_j P_ij, (n, d) float64.

    Reference:
        Courty et al. 2017, IEEE TPAMI 39(9), eq. 14.
    """
    return plan @ y.double() / plan.sum(dim=1, keepdim=True)


def _row_logsumexp(scaled: Tensor, potential: Tensor) -> Tensor:
    rows = max(1, CHUNK_ENTRIES // scaled.shape[1])
    return torch.cat([torch.logsumexp(part + potential, dim=1) for part in scaled.split(rows)])


def _fill(kernel: Tensor, scaled: Tensor, alpha: Tensor, beta: Tensor) -> None:
    # into memory that is there: for matrices of this size a new one costs more than the exponentials
    torch.add(scaled, beta, out=kernel)
    kernel.add_(alpha[:, None]).exp_()
