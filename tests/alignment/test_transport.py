"""The solvers against loops, linear programmes and limits that are known."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from tl_research.alignment.transport import exact as exact_module
from tl_research.alignment.transport.class_regularized import class_purity, class_regularized
from tl_research.alignment.transport.cost import squared_euclidean, unit_of
from tl_research.alignment.transport.exact import exact_plan, highs_plan
from tl_research.alignment.transport.extension import entropic_map, nearest_displacement
from tl_research.alignment.transport.landmarks import centroids
from tl_research.alignment.transport.sinkhorn import barycentric, sinkhorn
from tl_research.errors import ConfigError


def clouds(n=40, m=30, d=5, seed=0, shift=0.5):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    y = 1.3 * torch.randn(m, d, generator=generator, dtype=torch.float64) + shift
    a, b = torch.rand(n, generator=generator).double() + 0.1, torch.rand(m, generator=generator).double() + 0.1
    return x, y, a / a.sum(), b / b.sum()


def naive_sinkhorn(cost, a, b, eps, rounds):
    """Entry by entry in numpy, each update by its definition."""
    cost, a, b = cost.numpy(), a.numpy(), b.numpy()
    f, g = np.zeros(len(a)), np.zeros(len(b))
    for _ in range(rounds):
        for i in range(len(a)):
            f[i] = eps * np.log(a[i]) - eps * np.logaddexp.reduce((g - cost[i]) / eps)
        for j in range(len(b)):
            g[j] = eps * np.log(b[j]) - eps * np.logaddexp.reduce((f - cost[:, j]) / eps)
    return np.exp((f[:, None] + g - cost) / eps)


def brute_linprog(cost, a, b):
    n, m = cost.shape
    equal = np.zeros((n + m, n * m))
    for i in range(n):
        for j in range(m):
            equal[i, i * m + j] = equal[n + j, i * m + j] = 1
    return linprog(cost.ravel(), A_eq=equal[:-1], b_eq=np.concatenate([a, b])[:-1]).fun


def test_cost_is_the_squared_distance_far_from_the_origin_too():
    x, y, _, _ = clouds()
    expected = (x[:, None] - y).square().sum(dim=2)
    torch.testing.assert_close(squared_euclidean(x, y), expected)
    torch.testing.assert_close(squared_euclidean(x + 1e4, y + 1e4), expected, rtol=1e-8, atol=1e-8)


def test_units():
    cost = torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 80.0], [5.0, 6.0, 7.0]], dtype=torch.float64)
    assert [unit_of(cost, kind) for kind in ("none", "median", "mean", "max")] == [1.0, 4.0, 12.0, 80.0]
    assert unit_of(torch.zeros(3, 3), "median") == 1.0


@pytest.mark.parametrize("rounds", [1, 10, 11, 200])
@pytest.mark.parametrize("relative", [1.0, 0.1, 0.01])
def test_sinkhorn_is_the_naive_loop_update_for_update(rounds, relative):
    x, y, a, b = clouds()
    cost = squared_euclidean(x, y)
    eps = relative * unit_of(cost, "median")
    found = sinkhorn(cost, a, b, regularization=eps, tolerance=1e-300, max_iterations=rounds)
    assert found.iterations == rounds
    np.testing.assert_allclose(found.plan.numpy(), naive_sinkhorn(cost, a, b, eps, rounds), rtol=0, atol=1e-8 / 1200)
    torch.testing.assert_close(found.plan, torch.exp((found.f[:, None] + found.g - cost) / eps))


def test_sinkhorn_where_plain_scaling_underflows():
    """exp(-cost / eps) is 0 everywhere; absorption and the steps back are what is tested."""
    x, y, a, b = clouds(d=20)
    cost = squared_euclidean(x, y)
    eps = 2e-4 * float(cost.median())
    assert float(torch.exp(-cost / eps).max()) == 0
    for rounds in (1, 10, 300):
        found = sinkhorn(cost, a, b, regularization=eps, tolerance=1e-9, max_iterations=rounds)
        np.testing.assert_allclose(found.plan.numpy(), naive_sinkhorn(cost, a, b, eps, rounds), rtol=0, atol=1e-10)


def test_marginals_and_what_is_said_of_them():
    x, y, a, b = clouds()
    cost = squared_euclidean(x, y)
    found = sinkhorn(cost, a, b, regularization=0.05 * unit_of(cost, "median"), tolerance=1e-7)
    torch.testing.assert_close(found.plan.sum(dim=0), b, rtol=1e-12, atol=0)
    assert float((found.plan.sum(dim=1) - a).abs().sum()) == pytest.approx(found.error, rel=1e-9)
    assert found.converged
    assert found.error <= 1e-7
    short = sinkhorn(cost, a, b, regularization=0.01 * unit_of(cost, "median"), tolerance=1e-12, max_iterations=3)
    assert not short.converged
    assert (short.iterations, short.error > 1e-12) == (3, True)


def test_large_regularization_gives_the_independent_coupling_and_small_the_exact_plan():
    x, y, a, b = clouds()
    cost = squared_euclidean(x, y)
    torch.testing.assert_close(sinkhorn(cost, a, b, regularization=1e9).plan, a[:, None] * b, rtol=1e-6, atol=0)
    exact = exact_plan(cost, a, b)
    potential = None
    for eps in (1.0, 0.25, 0.0625, 0.015):
        small = sinkhorn(cost, a, b, regularization=eps, tolerance=1e-6, max_iterations=20_000, g=potential)
        potential = small.g
    assert small.converged
    assert float((small.plan - exact).abs().sum()) < 0.01
    assert float((small.plan * cost).sum()) == pytest.approx(float((exact * cost).sum()), rel=1e-3)


def test_a_warm_start_is_the_same_plan_sooner():
    x, y, a, b = clouds()
    cost = squared_euclidean(x, y)
    eps = 0.02 * unit_of(cost, "median")
    cold = sinkhorn(cost, a, b, regularization=eps, tolerance=1e-10, max_iterations=5000)
    warm = sinkhorn(cost, a, b, regularization=eps, tolerance=1e-10, max_iterations=5000, g=cold.g)
    assert warm.iterations < cold.iterations
    torch.testing.assert_close(warm.plan, cold.plan, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("n", "m"), [(7, 7), (6, 9), (9, 4)])
def test_exact_plan_has_the_cost_of_the_linear_programme(n, m):
    for seed in range(3):
        x, y, a, b = clouds(n, m, 2, seed)
        cost = squared_euclidean(x, y)
        for plan in (exact_plan(cost, a, b).numpy(), highs_plan(cost.numpy(), a.numpy(), b.numpy())):
            np.testing.assert_allclose(plan.sum(axis=1), a, atol=1e-9)
            np.testing.assert_allclose(plan.sum(axis=0), b, atol=1e-9)
            expected = brute_linprog(cost.numpy(), a.numpy(), b.numpy())
            assert (plan * cost.numpy()).sum() == pytest.approx(expected, rel=1e-9)


def test_exact_plan_of_equal_weights_is_the_best_permutation():
    x, y, _, _ = clouds(8, 8, 2)
    cost, equal = squared_euclidean(x, y), torch.full((8,), 1 / 8, dtype=torch.float64)
    plan = exact_plan(cost, equal, equal)
    assert sorted(plan.flatten().tolist()) == [0.0] * 56 + [1 / 8] * 8
    assert float((plan * cost).sum()) == pytest.approx(brute_linprog(cost.numpy(), equal.numpy(), equal.numpy()))


def test_exact_without_pot_above_the_size_is_one_clear_error(monkeypatch):
    monkeypatch.setattr(exact_module, "LINPROG_ENTRIES", 50)
    monkeypatch.setitem(__import__("sys").modules, "ot", None)
    x, y, a, b = clouds(8, 9)
    with pytest.raises(ConfigError, match=r"^solver: 'exact' with 8 and 9 rows needs POT"):
        exact_plan(squared_euclidean(x, y), a, b)


def test_against_pot():
    ot = pytest.importorskip("ot", reason="POT is not installed")
    x, y, a, b = clouds(60, 50)
    cost = squared_euclidean(x, y)
    eps = 0.05 * unit_of(cost, "median")
    ours = sinkhorn(cost, a, b, regularization=eps, tolerance=1e-12, max_iterations=10_000).plan
    theirs = ot.sinkhorn(a.numpy(), b.numpy(), cost.numpy(), eps, method="sinkhorn_log", stopThr=1e-13)
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-9)
    np.testing.assert_allclose(
        float((exact_plan(cost, a, b) * cost).sum()), ot.emd2(a.numpy(), b.numpy(), cost.numpy()), rtol=1e-9
    )


def two_classes():
    """Two classes that overlap in the target, so that plain transport mixes them."""
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(60) % 2
    x = torch.randn(60, 2, generator=generator, dtype=torch.float64) + label[:, None]
    y = torch.randn(50, 2, generator=generator, dtype=torch.float64) + (torch.arange(50) % 2)[:, None]
    a, b = torch.full((60,), 1 / 60, dtype=torch.float64), torch.full((50,), 1 / 50, dtype=torch.float64)
    return squared_euclidean(x, y), a, b, label


def test_class_regularization_gives_each_target_row_mass_of_one_class():
    cost, a, b, label = two_classes()
    options = {"classes": 2, "regularization": 0.5, "tolerance": 1e-9, "max_iterations": 20_000}
    plain = class_regularized(cost, a, b, label, class_weight=0.0, **options)
    torch.testing.assert_close(plain.plan, sinkhorn(cost, a, b, regularization=0.5, tolerance=1e-9).plan)
    purity = [
        float(class_purity(class_regularized(cost, a, b, label, class_weight=eta, **options).plan, label, 2).mean())
        for eta in (0.0, 1.0, 10.0)
    ]
    assert purity[0] < 0.8
    assert purity[0] < purity[1] < purity[2]
    assert purity[2] > 0.99
    found = class_regularized(cost, a, b, label, class_weight=10.0, **options)
    torch.testing.assert_close(found.plan.sum(dim=1), a, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.plan.sum(dim=0), b, rtol=1e-12, atol=0)


def test_each_round_of_majorisation_lowers_the_objective():
    cost, a, b, label = two_classes()
    member = torch.nn.functional.one_hot(label, 2).double()
    eps, eta, floor = 0.5, 2.0, 1e-3

    def objective(plan):
        share = (member.T @ plan) / b
        entropy = (plan * (plan.log() - 1)).sum()
        return float((plan * cost).sum() + eps * entropy + eta * (b * (share + floor).sqrt()).sum())

    values = [
        objective(
            class_regularized(
                cost,
                a,
                b,
                label,
                classes=2,
                regularization=eps,
                class_weight=eta,
                rounds=rounds,
                tolerance=1e-11,
                max_iterations=50_000,
            ).plan
        )
        for rounds in range(6)
    ]
    assert all(late < early - 1e-6 for early, late in pairwise(values)), values


def test_purity_by_hand():
    plan = torch.tensor([[0.1, 0.3], [0.1, 0.0], [0.2, 0.1]], dtype=torch.float64)
    torch.testing.assert_close(
        class_purity(plan, torch.tensor([0, 0, 1]), 2), torch.tensor([0.5, 0.75], dtype=torch.float64)
    )


def test_the_entropic_map_on_rows_of_the_fit_is_their_barycentre():
    x, y, a, b = clouds()
    cost = squared_euclidean(x, y)
    eps = 0.05 * unit_of(cost, "median")
    found = sinkhorn(cost, a, b, regularization=eps, tolerance=1e-12, max_iterations=10_000)
    torch.testing.assert_close(entropic_map(x, y, found.g, eps), barycentric(found.plan, y))


def test_nearest_displacement_by_hand():
    rows = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    moved = nearest_displacement(torch.tensor([[1.0, 1.0], [9.0, 1.0]]), rows, torch.tensor([[0.0, 5.0], [-1.0, 0.0]]))
    assert moved.tolist() == [[1.0, 6.0], [8.0, 1.0]]


def test_centroids_keep_the_mass_and_the_mean_and_the_seed():
    x, _, a, _ = clouds(500, 10, 3)
    centre, mass = centroids(x, a, 40, seed=1)
    assert len(centre) <= 40
    assert bool((mass > 0).all())
    assert float(mass.sum()) == pytest.approx(1)
    torch.testing.assert_close(mass @ centre, a @ x)
    again = centroids(x, a, 40, seed=1)
    assert torch.equal(again[0], centre)
    assert torch.equal(again[1], mass)
    assert not torch.equal(centroids(x, a, 40, seed=2)[0], centre)


def test_as_many_centroids_as_rows_are_the_rows():
    x, _, a, _ = clouds(30, 10, 3)
    centre, mass = centroids(x, a, 30, seed=0)
    order = (centre[:, None] - x).square().sum(dim=2).argmin(dim=0)
    torch.testing.assert_close(centre[order], x, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(mass[order], a)
