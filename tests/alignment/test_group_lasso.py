"""Group-lasso transport against a general solver, POT, its optimality conditions and limits that are known."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize

from tests.alignment.test_transport import clouds, two_classes
from tl_research.alignment.transport.class_regularized import class_purity
from tl_research.alignment.transport.cost import squared_euclidean, unit_of
from tl_research.alignment.transport.group_lasso import group_lasso
from tl_research.alignment.transport.sinkhorn import sinkhorn


def problem(n=40, m=30, classes=3):
    x, y, a, b = clouds(n, m)
    cost = squared_euclidean(x, y)
    return cost / unit_of(cost, "median"), a, b, torch.arange(n) % classes


def objective(plan, cost, label, eps, eta):
    """By loops over columns and classes, in numpy."""
    plan, cost, label = (np.asarray(part) for part in (plan, cost, label))
    entropy = np.where(plan > 0, plan * (np.log(np.where(plan > 0, plan, 1)) - 1), 0).sum()
    groups = sum(
        np.sqrt((plan[label == own, column] ** 2).sum()) for column in range(plan.shape[1]) for own in np.unique(label)
    )
    return float((plan * cost).sum() + eps * entropy + eta * groups)


def solved(cost, a, b, label, eps, eta, **options):
    own = {"tolerance": 1e-11, "max_iterations": 50_000, "precision": 1e-9, "rounds": 2000}
    classes = int(label.max()) + 1
    return group_lasso(cost, a, b, label, classes=classes, regularization=eps, class_weight=eta, **(own | options))


@pytest.mark.parametrize(("eps", "eta"), [(0.1, 0.3), (0.3, 2.0)])
def test_against_a_general_solver(eps, eta):
    cost, a, b, label = problem(4, 3, classes=2)

    def value(flat):
        return objective(flat.reshape(4, 3).clip(1e-300), cost, label, eps, eta)

    equal = np.zeros((7, 12))
    for i in range(4):
        for j in range(3):
            equal[i, i * 3 + j] = equal[4 + j, i * 3 + j] = 1
    wanted = np.concatenate([a, b])[:-1]
    found = minimize(
        value,
        np.outer(a, b).ravel(),
        method="SLSQP",
        bounds=[(1e-12, 1)] * 12,
        constraints={"type": "eq", "fun": lambda flat: equal[:-1] @ flat - wanted},
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    assert found.success
    ours = solved(cost, a, b, label, eps, eta)
    assert ours.converged
    assert objective(ours.plan, cost, label, eps, eta) == pytest.approx(found.fun, abs=1e-8)
    np.testing.assert_allclose(ours.plan, found.x.reshape(4, 3), atol=2e-4)
    plain = sinkhorn(cost, a, b, regularization=eps, tolerance=1e-11).plan
    assert float((ours.plan - plain).abs().max()) > 1e-2, "the term does something here"


@pytest.mark.parametrize(("eps", "eta"), [(0.1, 0.05), (0.1, 0.5), (0.02, 0.2)])
def test_the_gradient_is_a_sum_of_a_row_and_a_column(eps, eta):
    """Optimality, P > 0: C + eps log P + eta P_ij / ||P_{I_c, j}|| = f_i + g_j, the potentials."""
    cost, a, b, label = problem()
    found = solved(cost, a, b, label, eps, eta, precision=1e-12)
    member = F.one_hot(label, 3).double()
    norms = torch.stack([found.plan[label == own].norm(dim=0) for own in range(3)])
    gradient = cost + eps * found.plan.log() + eta * found.plan / (member @ norms)
    residual = gradient - found.f[:, None] - found.g
    assert float((found.plan * residual.abs()).sum()) < 1e-5
    torch.testing.assert_close(found.plan.sum(dim=1), a, rtol=0, atol=1e-10)
    torch.testing.assert_close(found.plan.sum(dim=0), b, rtol=1e-12, atol=0)


def test_each_round_lowers_the_objective_and_the_bound_holds():
    cost, a, b, label = problem()
    eps, eta = 0.05, 0.5
    least = objective(solved(cost, a, b, label, eps, eta, precision=1e-12).plan, cost, label, eps, eta)
    rounds = (1, 2, 4, 8, 16, 32)
    made = [solved(cost, a, b, label, eps, eta, rounds=count) for count in rounds]
    over = [objective(found.plan, cost, label, eps, eta) - least for found in made]
    rate = eta / (eps + eta)
    for (first, early), (last, late) in pairwise(zip(rounds, over, strict=True)):
        assert late < early * rate ** (last - first)
    assert all(excess <= found.gap for excess, found in zip(over, made, strict=True)), "the bound"
    assert made[-1].gap < 10 * over[-1] + 1e-9, "which is no idle one"
    assert not made[0].converged


def test_without_weight_it_is_entropic_transport():
    cost, a, b, label = problem()
    plain = sinkhorn(cost, a, b, regularization=0.1, tolerance=1e-11)
    torch.testing.assert_close(solved(cost, a, b, label, 0.1, 0.0).plan, plain.plan, rtol=0, atol=0)
    small = solved(cost, a, b, label, 0.1, 1e-6).plan
    torch.testing.assert_close(small, plain.plan, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("eta", "above"), [(0.02, 1e-7), (0.1, 1e-2)])
def test_against_pot(eta, above):
    """The same plan where POT's conditional gradient converges; for a larger eta it stops early, above our minimum."""
    ot = pytest.importorskip("ot", reason="POT is not installed")
    cost, a, b, label = problem()
    options = {"eta": eta, "numItermax": 5, "numInnerItermax": 500, "stopInnerThr": 1e-12}
    theirs = ot.da.sinkhorn_l1l2_gl(a.numpy(), label.numpy(), b.numpy(), cost.numpy(), 0.1, **options)
    ours = solved(cost, a, b, label, 0.1, eta).plan
    excess = objective(theirs, cost, label, 0.1, eta) - objective(ours, cost, label, 0.1, eta)
    assert -1e-9 < excess < above
    if eta == 0.02:
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-5)
        plain = sinkhorn(cost, a, b, regularization=0.1).plan.numpy()
        assert np.abs(plain - theirs).max() > 3e-5, "the term does something here"


def test_purity_grows_with_the_weight():
    cost, a, b, label = two_classes()
    plans = [solved(cost, a, b, label, 0.5, eta, precision=1e-7).plan for eta in (0.0, 2.0, 10.0, 40.0)]
    purity = [float(class_purity(plan, label, 2).mean()) for plan in plans]
    assert all(late > early + 0.01 for early, late in pairwise(purity)), purity


def test_a_plan_that_underflows_stays_finite():
    """eps so small that most entries of the plan are 0 in float64."""
    cost, a, b, label = problem()
    found = solved(100 * cost, a, b, label, 0.05, 1.0, tolerance=1e-6, max_iterations=2000, rounds=5)
    assert bool((found.plan == 0).any())
    assert bool(torch.isfinite(found.plan).all())
    assert np.isfinite(found.gap)
