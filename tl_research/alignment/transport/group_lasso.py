"""Entropic transport with a group lasso: few source classes send mass to a target row; convex."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tl_research.alignment.transport.sinkhorn import Coupling, sinkhorn

#: Lower bound on a group's norm: at 0 the norm is not differentiable. Mass this small is negligible.
FLOOR = 1e-150


def group_lasso(
    cost: Tensor,
    a: Tensor,
    b: Tensor,
    label: Tensor,
    *,
    classes: int,
    regularization: float,
    class_weight: float,
    rounds: int = 200,
    precision: float = 1e-5,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
) -> Coupling:
    """Minimise F(P) = <P, C> + eps sum P (log P - 1) + eta sum_j sum_c ||P_{I_c, j}||_2, I_c the rows of class c.

    P has total mass 1. The norm is of degree 1 in P, so no size of b enters, as in `class_regularized`; but a
    column's mass w spread evenly over r rows of one class counts eta w / sqrt(r), so that larger classes need a
    larger eta, and a row of weight 2 is not the row twice. The term spreads mass within a class as well as taking it
    from the others: on plans that the entropy makes dense, classes part less than by the concave term.

    The paper takes steps of generalised conditional gradient with a line search. The minimum is unique, and a
    proximal step in the entropy's geometry reaches it without one: the Hessian of ||p|| is at most diag(1 / p), so
    with G = grad of the norms at P each round's entropic problem, of cost C + eta (G - log P) and regularisation
    eps + eta, lowers F, and F - F* falls by eta / (eps + eta) per round or faster. It ends when a bound on F - F*
    (`_gap`) is at most `precision` eps; then P is within sqrt(2 precision) of the optimal plan in total mass.

    Args:
        cost: (n, m) float64, finite.
        a, b: (n,), (m,) float64, > 0, sum 1.
        label: (n,) class index of the source rows.
        classes: number of classes.
        regularization: eps > 0, in the unit of the cost.
        class_weight: eta >= 0, in the unit of the cost.
        rounds: at most so many.
        precision: see above.
        tolerance, max_iterations: of each entropic problem.

    Returns:
        The last round's plan, whose `f` and `g` are the multipliers of the marginals; `iterations` counts all rounds,
        `gap` is the bound.

    Reference:
        Courty et al. 2017, IEEE TPAMI 39(9), section 4.2 (OT-GL); Bauschke, Bolte & Teboulle 2017, Math. Oper. Res.
        42(2), theorem 1 (the step).
    """
    eps, eta = regularization, class_weight
    options = {"tolerance": tolerance, "max_iterations": max_iterations}
    found = sinkhorn(cost, a, b, regularization=eps, **options)
    if eta == 0:
        return found._replace(gap=0.0)
    member = F.one_hot(label, classes).to(cost.dtype)
    # from the potentials, because the plan underflows
    log_plan = (found.f[:, None] + found.g - cost) / eps
    slope = _slope(found.plan, member, label)
    iterations, gap = found.iterations, float("inf")
    for _ in range(rounds):
        moved = cost + eta * (slope - log_plan)
        found = sinkhorn(moved, a, b, regularization=eps + eta, g=found.g, **options)
        iterations += found.iterations
        last_log_plan, last_slope = log_plan, slope
        log_plan = (found.f[:, None] + found.g - moved) / (eps + eta)
        slope = _slope(found.plan, member, label)
        residual = eta * ((slope - last_slope) - (log_plan - last_log_plan))
        gap = _gap(found.plan, log_plan, residual, b, eps)
        if gap <= precision * eps:
            break
    return found._replace(iterations=iterations, converged=found.converged and gap <= precision * eps, gap=gap)


def _slope(plan: Tensor, member: Tensor, label: Tensor) -> Tensor:
    """Return the gradient of sum_jc ||P_{I_c, j}||, P_ij / ||P_{I_c, j}||."""
    norm = (member.T @ plan.square()).sqrt()
    return plan / norm.clamp_min(FLOOR)[label]


def _gap(plan: Tensor, log_plan: Tensor, residual: Tensor, b: Tensor, eps: float) -> float:
    """Return a bound on F(P) - min F, for rows of P that sum to a.

    With R = grad F(P) - f_i - g_j, convexity gives F(Q) >= F(P) + <R, Q - P> + eps KL(Q | P) for every Q with the
    marginals; the right side has its least value over the Q whose columns sum to b at Q ~ P exp(-R / eps).
    """
    reached = torch.logsumexp(log_plan - residual / eps, dim=0) - b.log()
    return float((plan * residual).sum() + eps * (b * reached).sum())
