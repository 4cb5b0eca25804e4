"""KLIEP, uLSIF and RuLSIF at a fixed width against numpy and scipy, written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.spatial.distance import cdist, pdist

from tests.weighting.problem import two_gaussians
from tl_research.registry import WEIGHTINGS
from tl_research.weighting.base import weigh
from tl_research.weighting.kliep import mixture_proportions
from tl_research.weighting.least_squares import k_fold_scores, leave_one_out_scores

WIDTH = 0.7


def phi(rows, centres) -> np.ndarray:
    return np.exp(-cdist(rows, centres, "sqeuclidean") / (2 * WIDTH**2))


def at_width(name: str, source, target, **options):
    """The weighting with every target row as a centre and one sigma, WIDTH."""
    WEIGHTINGS.discover()
    distances = np.sort(pdist(np.concatenate([source, target])))
    median = distances[(len(distances) - 1) // 2]
    config = WEIGHTINGS.get(name).config(widths=[WIDTH / median], centres=len(target), **options)
    raw = WEIGHTINGS.get(name).target(source, target, config, seed=0)[0].numpy()
    return raw, weigh(source, target, config, seed=0).facts


def test_kliep_equals_a_general_solver():
    source, target, _ = two_gaussians(60, 25)
    on_source, on_target = phi(source, target), phi(target, target)
    means = on_source.mean(axis=0)
    found = minimize(
        lambda a: -np.log(on_target @ a).mean(), np.full(25, 1 / on_source.mean(axis=0).sum()),
        jac=lambda a: -(on_target / (on_target @ a)[:, None]).mean(axis=0), bounds=[(0, None)] * 25, method="SLSQP",
        constraints={"type": "eq", "fun": lambda a: means @ a - 1, "jac": lambda _: means},
        options={"maxiter": 2000, "ftol": 1e-14},
    )  # fmt: skip
    assert found.success
    weight, facts = at_width("kliep", source, target, tolerance=1e-9)
    assert facts["bandwidth"] == pytest.approx(WIDTH, rel=1e-6)
    assert weight.mean() == pytest.approx(1, abs=1e-14)
    np.testing.assert_allclose(weight, on_source @ found.x, atol=2e-3)
    assert facts["gap"] <= 1e-9


def test_mixture_proportions_are_certified():
    generator = torch.Generator().manual_seed(0)
    log_density = -3 * torch.rand(50, 8, generator=generator, dtype=torch.float64)
    pi, _, gap = mixture_proportions(log_density, tolerance=1e-10)
    assert pi.sum().item() == pytest.approx(1, abs=1e-14)
    assert gap <= 1e-10
    value = (log_density.exp() @ pi).log().mean()
    slope = (log_density.exp() / (log_density.exp() @ pi)[:, None]).mean(dim=0)
    assert slope.max() <= 1 + 1e-9
    assert slope[pi > 1e-4] == pytest.approx(1, abs=1e-5)
    coarse, _, coarse_gap = mixture_proportions(log_density, tolerance=1e-2)
    assert 0 <= value - (log_density.exp() @ coarse).log().mean() <= coarse_gap


def test_kliep_does_not_underflow_in_many_columns():
    generator = torch.Generator().manual_seed(0)
    source = torch.randn(200, 800, generator=generator)
    target = torch.randn(200, 800, generator=generator) + 0.2
    raw, facts = at_width("kliep", source.double(), target.double())
    assert np.isfinite(raw).all()
    assert facts["converged"] is True


def test_ulsif_solves_the_normal_equations():
    source, target, _ = two_gaussians(80, 30)
    on_source, on_target = phi(source, target), phi(target, target)
    for ridge in (0.01, 1.0):
        # The same minimiser as a least-squares problem with stacked rows.
        stacked = np.concatenate([on_source / np.sqrt(80), np.sqrt(ridge) * np.eye(30)])
        alpha = np.linalg.solve(stacked.T @ stacked, on_target.mean(axis=0))
        assert (alpha < 0).any() == (ridge == 0.01)
        weight, _ = at_width("ulsif", source, target, ridge=[ridge])
        np.testing.assert_allclose(weight, on_source @ np.maximum(alpha, 0), rtol=1e-6, atol=1e-8)


def test_rulsif_minimises_its_criterion():
    source, target, _ = two_gaussians(80, 30)
    on_source, on_target = phi(source, target), phi(target, target)
    mixture, ridge = 0.3, 0.1

    def criterion(a):
        fit_s, fit_t = on_source @ a, on_target @ a
        squares = mixture * (fit_t**2).mean() + (1 - mixture) * (fit_s**2).mean()
        return 0.5 * squares - fit_t.mean() + 0.5 * ridge * a @ a

    found = minimize(criterion, np.zeros(30), method="BFGS", options={"gtol": 1e-9})
    weight, _ = at_width("rulsif", source, target, ridge=[ridge], alpha=mixture)
    np.testing.assert_allclose(weight, np.maximum(on_source @ found.x, 0), atol=1e-5)


def test_leave_one_out_equals_the_loop():
    source, target, _ = two_gaussians(25, 18)
    on_source, on_target = phi(source, target[:10]), phi(target, target[:10])
    for ridge in (0.001, 0.1):
        scores = []
        for i in range(18):
            s, t = np.delete(on_source, i, axis=0), np.delete(on_target, i, axis=0)
            alpha = np.linalg.solve(s.T @ s / len(s) + ridge * np.eye(10), t.mean(axis=0)).clip(min=0)
            scores.append(0.5 * (on_source[i] @ alpha) ** 2 - on_target[i] @ alpha)
        (got,) = leave_one_out_scores(torch.as_tensor(on_source), torch.as_tensor(on_target), [ridge], 18)
        assert got == pytest.approx(np.mean(scores), rel=1e-9)


def test_k_fold_score_equals_the_loop():
    source, target, _ = two_gaussians(30, 20)
    on_source, on_target = phi(source, target[:6]), phi(target, target[:6])
    mixture, ridge, scores = 0.2, 0.05, []
    for fold in range(5):
        out_s, out_t = np.arange(30) // 6 == fold, np.arange(20) // 4 == fold
        s, t = on_source[~out_s], on_target[~out_t]
        moment = mixture * t.T @ t / len(t) + (1 - mixture) * s.T @ s / len(s)
        alpha = np.linalg.solve(moment + ridge * np.eye(6), t.mean(axis=0))
        w_s, w_t = on_source[out_s] @ alpha, on_target[out_t] @ alpha
        scores.append(0.5 * (mixture * (w_t**2).mean() + (1 - mixture) * (w_s**2).mean()) - w_t.mean())
    (got,) = k_fold_scores(torch.as_tensor(on_source), torch.as_tensor(on_target), [ridge], mixture, 5)
    assert got == pytest.approx(np.mean(scores), rel=1e-9)


@pytest.mark.parametrize("name", ["kliep", "ulsif", "rulsif"])
def test_the_choice_takes_the_best_candidate(name):
    source, target, _ = two_gaussians(500, 500)
    config = WEIGHTINGS.get(name).config
    chosen = weigh(source, target, config(), seed=0).facts
    key = "cv_log_weight" if name == "kliep" else "cv_score"
    for width in (0.5, 1.0, 2.0):
        only = weigh(source, target, config(widths=[width, width]), seed=0).facts
        assert chosen[key] >= only[key] if name == "kliep" else chosen[key] <= only[key]


def test_rulsif_without_a_mixture_is_ulsif_before_its_cut():
    source, target, _ = two_gaussians(80, 30)
    plain, _ = at_width("rulsif", source, target, ridge=[10.0], alpha=0.0)
    cut, _ = at_width("ulsif", source, target, ridge=[10.0])  # so stiff that no coefficient is negative
    np.testing.assert_allclose(plain, cut, rtol=1e-10)
