"""Entropic transport that lets a target row take mass from one source class only."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tl_research.alignment.transport.sinkhorn import Coupling, sinkhorn

#: Added to the share a class has of a target row before it is raised to the power -1/2.
FLOOR = 1e-3


def class_regularized(
    cost: Tensor,
    a: Tensor,
    b: Tensor,
    label: Tensor,
    *,
    classes: int,
    regularization: float,
    class_weight: float,
    rounds: int = 10,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
) -> Coupling:
    """Minimise <P, C> + eps sum P (log P - 1) + eta sum_jc (sum_{i in c} P_ij)^(1/2), locally, by majorisation.

    The concave group term is at most its tangent, so each round is an entropic problem with the cost
    C_ij + (eta / 2) (M_cj)^(-1/2), M_cj the mass that column j takes from the class c of row i (`rounds` of them,
    each begun at the potentials of the last). Masses are in units of b_j, so that eta does not depend on the sizes:
    the term is eta b_j (M_cj / b_j)^(1/2).

    Args:
        cost: (n, m) float64, finite.
        a, b: (n,), (m,) float64, > 0, sum 1.
        label: (n,) class index of the source rows.
        classes: number of classes.
        regularization: eps > 0, in the unit of the cost.
        class_weight: eta >= 0, in the unit of the cost.
        rounds: of majorisation.
        tolerance, max_iterations: of each entropic problem.

    Returns:
        The last round's plan; `iterations` counts all rounds.

    Reference:
        Courty, Flamary & Tuia 2014, ECML, section 3.3 (l1-lp norm, p = 1/2); Courty et al. 2017, IEEE TPAMI 39(9),
        section 4.
    """
    member = F.one_hot(label, classes).to(cost.dtype)
    found = sinkhorn(cost, a, b, regularization=regularization, tolerance=tolerance, max_iterations=max_iterations)
    iterations = found.iterations
    for _ in range(rounds):
        share = (member.T @ found.plan) / b  # (classes, m), columns sum to 1
        penalty = 0.5 * class_weight * (share + FLOOR).rsqrt()
        found = sinkhorn(
            cost + penalty[label],
            a,
            b,
            regularization=regularization,
            tolerance=tolerance,
            max_iterations=max_iterations,
            g=found.g,
        )
        iterations += found.iterations
    return found._replace(iterations=iterations)


def class_purity(plan: Tensor, label: Tensor, classes: int) -> Tensor:
    """Return, for each target row, the largest share of its mass that comes from one class; (m,) in [1/classes, 1]."""
    member = F.one_hot(label, classes).to(plan.dtype)
    mass = member.T @ plan
    return mass.amax(dim=0) / mass.sum(dim=0).clamp_min(torch.finfo(plan.dtype).tiny)
