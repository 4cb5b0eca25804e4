"""Kernel mean matching against a general solver, its optimality conditions and its own other paths."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from tests.weighting.problem import two_gaussians
from tl_research.weighting import kmm
from tl_research.weighting.base import weigh
from tl_research.weighting.kmm import KMMConfig, chosen_path, duality_gap, largest_eigenvalue_bound, project


def general_solver(gradient, objective, start, bound, low, high) -> np.ndarray:
    limits = (
        {"type": "ineq", "fun": lambda b: b.sum() - low, "jac": np.ones_like},
        {"type": "ineq", "fun": lambda b: high - b.sum(), "jac": lambda b: -np.ones_like(b)},
    )
    found = minimize(
        objective, start, jac=gradient, bounds=[(0, bound)] * len(start), constraints=limits, method="SLSQP",
        options={"maxiter": 2000, "ftol": 1e-15},
    )  # fmt: skip
    assert found.status in (0, 8), found.message  # 8: no step from here goes down any further
    return found.x


def problem(source, target, sigma) -> tuple[np.ndarray, np.ndarray]:
    n, m = len(source), len(target)
    gram = np.exp(-cdist(source, source, "sqeuclidean") / (2 * sigma**2))
    kappa = n / m * np.exp(-cdist(source, target, "sqeuclidean") / (2 * sigma**2)).sum(axis=1)
    return gram, kappa


@pytest.mark.parametrize("path", ["dense", "streaming"])
@pytest.mark.parametrize(("bound", "slack", "shift"), [(1000.0, None, 0.0), (2.0, 0.05, 0.0), (1.5, 0.3, 3.0)])
def test_equals_a_general_qp_solver(bound, slack, shift, path):
    source, target, _ = two_gaussians(40, 30)
    target = target + shift
    config = KMMConfig(bandwidth=0.6, bound=bound, slack=slack, tolerance=1e-10, max_steps=20_000, path=path)
    weight = kmm.kmm(source, target, config, seed=0)[0].numpy()
    gram, kappa = problem(source.numpy(), target.numpy(), 0.6)
    eps = (40**0.5 - 1) / 40**0.5 if slack is None else slack
    low, high = 40 * (1 - eps), 40 * (1 + eps)

    def objective(b):
        return 0.5 * b @ gram @ b - kappa @ b

    expected = general_solver(lambda b: gram @ b - kappa, objective, np.ones(40), bound, low, high)
    assert objective(weight) <= objective(expected) + 1e-6
    np.testing.assert_allclose(weight, expected, atol=2e-3)
    assert weight.min() >= 0
    assert weight.max() <= bound
    assert low - 1e-9 <= weight.sum() <= high + 1e-9


def test_the_constraints_of_the_test_above_bind():
    source, target, _ = two_gaussians(40, 30)
    config = KMMConfig(bandwidth=0.6, bound=2.0, slack=0.05, tolerance=1e-10, max_steps=20_000)
    weight = kmm.kmm(source, target, config, seed=0)[0]
    assert (weight == 0).sum() >= 3
    assert (weight == 2).sum() >= 3
    far = kmm.kmm(source, target + 3, KMMConfig(bandwidth=0.6, bound=1.5, slack=0.3, tolerance=1e-10), seed=0)[0]
    assert far.sum().item() == pytest.approx(40 * 0.7)


def test_projection_equals_a_general_qp_solver():
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for trial in range(60):
        n = 1 + trial % 8
        v = 3 * torch.randn(n, generator=generator, dtype=torch.float64) + trial % 3 - 1
        bound, low, high = 1.0 + trial % 2, 0.4 * n, 0.6 * n
        b = project(v, bound, low, high)
        expected = general_solver(
            lambda x, v=v: x - v.numpy(), lambda x, v=v: 0.5 * ((x - v.numpy()) ** 2).sum(),
            np.full(n, 0.5), bound, low, high,
        )  # fmt: skip
        np.testing.assert_allclose(b.numpy(), expected, atol=1e-6)
        assert b.min() >= 0
        assert b.max() <= bound
        assert low - 1e-12 <= b.sum() <= high + 1e-12
        seen.add("low" if b.sum() < low + 1e-9 else "high" if b.sum() > high - 1e-9 else "inside")
    assert seen == {"low", "high", "inside"}


def test_projection_of_equal_and_of_many_numbers():
    assert torch.allclose(project(torch.full((5,), 9.0).double(), 4.0, 1.0, 5.0), torch.ones(5).double())
    assert torch.allclose(project(torch.full((5,), -9.0).double(), 4.0, 5.0, 6.0), torch.ones(5).double())
    v = 100 * torch.randn(100_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    b = project(v, 1000.0, 99_000.0, 101_000.0)
    assert b.sum().item() == pytest.approx(101_000, abs=1e-6)
    free = (b > 0) & (b < 1000)  # moved by one and the same shift
    assert (v[free] - b[free]).std() < 1e-9


def test_the_gap_bounds_the_distance_to_the_least_value():
    source, target, _ = two_gaussians(30, 30)
    gram, kappa = (torch.as_tensor(part) for part in problem(source.numpy(), target.numpy(), 0.6))
    limits = (3.0, 27.0, 33.0)
    tight = KMMConfig(bandwidth=0.6, bound=3.0, slack=0.1, tolerance=1e-11, max_steps=50_000)
    least = kmm.kmm(source, target, tight, seed=0)[0]

    def objective(b):
        return 0.5 * b @ gram @ b - kappa @ b

    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        b = project(2 * torch.rand(30, generator=generator, dtype=torch.float64), *limits)
        assert duality_gap(b, gram @ b - kappa, *limits) >= objective(b) - objective(least)
    assert duality_gap(least, gram @ least - kappa, *limits) < 1e-7


def test_the_curvature_is_an_upper_bound():
    source, target, _ = two_gaussians(50, 50)
    gram, _ = (torch.as_tensor(part) for part in problem(source.numpy(), target.numpy(), 1.0))
    bound = largest_eigenvalue_bound(lambda v: gram @ v, 50, source.device)
    exact = torch.linalg.eigvalsh(gram)[-1].item()
    assert exact <= bound < 1.05 * exact


def test_nystrom_is_exact_with_all_rows_as_landmarks_and_near_with_few():
    source, target, _ = two_gaussians(400, 400)
    exact = weigh(source, target, KMMConfig(path="dense", tolerance=1e-4), seed=0).weight
    for landmarks, limit in ((800, 0.02), (100, 0.05)):
        config = KMMConfig(path="nystrom", tolerance=1e-4, landmarks=landmarks)
        weights = weigh(source, target, config, seed=0)
        assert (weights.weight - exact).square().mean() < limit * (exact - 1).square().mean()
        assert weights.facts["landmarks"] == landmarks
    weak = weigh(source, target, KMMConfig(path="nystrom", tolerance=1e-4, landmarks=2), seed=0).weight
    assert (weak - exact).square().mean() > 0.05 * (exact - 1).square().mean()


def test_the_path_is_chosen_by_rows_and_memory_and_recorded():
    assert chosen_path(2000, KMMConfig()) == "dense"
    assert chosen_path(2000, KMMConfig(dense_mb=10.0)) == "streaming"
    assert chosen_path(10_000, KMMConfig()) == "nystrom"
    assert chosen_path(10_000, KMMConfig(path="streaming")) == "streaming"
    source, target, _ = two_gaussians(50, 50)
    facts = weigh(source, target, KMMConfig(approximate_from=50, landmarks=20), seed=0).facts
    assert facts["path"] == "nystrom"
    assert facts["converged"] is True


def test_what_does_not_converge_is_said(caplog):
    source, target, _ = two_gaussians(100, 100)
    facts = weigh(source, target, KMMConfig(tolerance=1e-12, max_steps=3), seed=0).facts
    assert facts["converged"] is False
    assert facts["gap"] > 1e-12
    assert "max_steps=3" in facts["warning"]
    assert "max_steps=3" in caplog.text
