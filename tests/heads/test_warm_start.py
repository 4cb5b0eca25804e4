"""Oracles: scikit-learn, autograd's Hessian, and the two ends of the prior's strength."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from tl_research.errors import ConfigError, DataError
from tl_research.heads.linear import Logistic
from tl_research.heads.warm_start import WarmStartLogistic, laplace_precision, with_one


def rows(n, classes, seed, turn=0.0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 10.0, 0.1, 1.0])
    truth = torch.randn(4, classes, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    truth = truth / torch.tensor([[1.0], [10.0], [0.1], [1.0]]) + turn * torch.eye(4, classes)
    noise = torch.rand(n, classes, generator=generator, dtype=torch.float64).log().neg().log().neg()  # Gumbel
    return x, (x @ truth + 0.3 * torch.arange(classes) + noise).argmax(dim=1)


def transferred(classes, *, n=400, k=60, **options) -> WarmStartLogistic:
    head = WarmStartLogistic(**options)
    head.fit_transfer(*rows(n, classes, 0), None, *rows(k, classes, 1, turn=1.0), classes=classes, seed=0)
    return head


def logits_of(model: LogisticRegression, x):
    score = model.decision_function(x)
    return np.stack([-score, score], axis=1) / 2 if score.ndim == 1 else score


def objective(w, x, y):
    """Σ CE by torch, of one margin or of all classes."""
    score = with_one(x) @ w.T
    score = torch.cat([-score, score], dim=1) / 2 if len(w) == 1 else score
    return F.cross_entropy(score, y, reduction="sum")


@pytest.mark.parametrize("classes", [2, 3])
def test_a_prior_around_nothing_is_ridge_logistic_regression(classes):
    """w_S = 0, P = I and a free intercept: scikit-learn's objective."""
    x, y = rows(120, classes, 1)
    head = WarmStartLogistic(strength=0.7, free_intercept=True)
    start = torch.zeros(1 if classes == 2 else classes, 5, dtype=torch.float64)
    w = head.optimum(start, head._precision(x, start, None), x, y)
    model = LogisticRegression(C=1 / 0.7, tol=1e-12, max_iter=100_000).fit(x.numpy(), y.numpy())
    np.testing.assert_allclose(w[:, :-1].numpy(), model.coef_, atol=2e-5)
    offset = model.intercept_ - model.intercept_.mean() if classes > 2 else model.intercept_
    found = w[:, -1].numpy()
    np.testing.assert_allclose(found - found.mean() if classes > 2 else found, offset, atol=2e-4)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("prior", ["proximal", "diagonal", "full"])
def test_at_its_ends_it_is_the_source_and_the_target_alone(classes, prior):
    x = rows(200, classes, 5)[0]
    source = Logistic(penalty=1.0)
    source.fit(*rows(400, classes, 0), None, classes=classes, seed=0)
    held = transferred(classes, prior=prior, strength=1e9)
    torch.testing.assert_close(held(x).softmax(dim=1), source(x).softmax(dim=1), atol=1e-4, rtol=0)
    free = transferred(classes, prior=prior, strength=1e-8, k=400)
    z, u = rows(400, classes, 1, turn=1.0)
    alone = LogisticRegression(C=np.inf, tol=1e-12, max_iter=100_000).fit(z.numpy(), u.numpy())
    expected = torch.from_numpy(logits_of(alone, x.numpy())).softmax(dim=1)
    torch.testing.assert_close(free(x).softmax(dim=1), expected, atol=1e-3, rtol=0)
    assert (source(x).softmax(dim=1) - expected).abs().max() > 0.1


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("prior", ["proximal", "diagonal", "full"])
def test_the_gradient_is_zero_at_the_optimum(classes, prior):
    x, (z, u) = rows(400, classes, 0)[0], rows(40, classes, 1, turn=1.0)
    head = WarmStartLogistic(prior=prior, strength=0.3)
    start = torch.randn(1 if classes == 2 else classes, 5, generator=torch.Generator().manual_seed(3)).double() * 0.1
    precision = head._precision(x, start, None)
    w = head.optimum(start, precision, z, u).requires_grad_(True)
    moved = (w - start).flatten()
    pull = precision * moved if precision.ndim == 1 else precision @ moved
    value = objective(w, z, u) + 0.5 * moved @ pull
    (gradient,) = torch.autograd.grad(value, w)
    size = torch.autograd.grad(objective(w, z, u), w)[0].abs().amax()
    assert gradient.abs().amax() < 1e-6 * size
    assert (w - start).abs().amax() > 1e-2


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_laplace_precision_is_the_hessian(classes, weighted):
    x, y = rows(50, classes, 0)
    weight = torch.linspace(0.1, 2, 50, dtype=torch.float64) if weighted else None
    w = torch.randn(1 if classes == 2 else classes, 5, generator=torch.Generator().manual_seed(0)).double() * 0.2

    def posterior(flat):
        v = flat.reshape(w.shape)
        score = with_one(x) @ v.T
        score = torch.cat([-score, score], dim=1) / 2 if len(v) == 1 else score
        loss = F.cross_entropy(score, y, reduction="none")
        return (loss if weight is None else weight * loss).sum() + 0.5 * 1.7 * v[:, :-1].square().sum()

    expected = torch.autograd.functional.hessian(posterior, w.flatten())
    full = laplace_precision(x, w, weight, penalty=1.7, full=True)
    torch.testing.assert_close(full, expected)
    diagonal = laplace_precision(x, w, weight, penalty=1.7, full=False)
    torch.testing.assert_close(diagonal, expected.diagonal())
    if classes == 2:
        torch.testing.assert_close(torch.linalg.inv(full), torch.linalg.inv(expected))


def test_the_full_posterior_as_prior_is_nearly_the_fit_to_both_at_once():
    """For a source of many rows the posterior is Gaussian: prior and target's likelihood make the pooled fit."""
    (x, y), (z, u) = rows(20_000, 2, 0), rows(300, 2, 1, turn=0.2)
    head = WarmStartLogistic(prior="full")
    head.fit_transfer(x, y, None, z, u, classes=2, seed=0)
    pooled = Logistic(penalty=1.0)
    pooled.fit(torch.cat([x, z]), torch.cat([y, u]), None, classes=2, seed=0)
    source = Logistic(penalty=1.0)
    source.fit(x, y, None, classes=2, seed=0)
    t = rows(500, 2, 5)[0]
    gap = (head(t) - pooled(t)).abs().amax()
    assert gap < 0.1 * (source(t) - pooled(t)).abs().amax()


def test_classes_that_one_side_lacks():
    (x, y), (z, u) = rows(400, 3, 0), rows(60, 3, 1)
    head = WarmStartLogistic()
    with pytest.raises(DataError, match="class 2 has target labels but no source row"):
        head.fit_transfer(x[y < 2], y[y < 2], None, z, u, classes=3, seed=0)
    head.fit_transfer(x, y, None, z[u > 0], u[u > 0], classes=4, seed=0)
    said = head(z).argmax(dim=1)
    assert not (said == 3).any()
    assert head(z).isfinite().all()


def test_it_keeps_the_type_of_the_rows_and_moves_to_an_unfitted_head():
    (x, y), (z, u) = rows(200, 3, 0), rows(30, 3, 1)
    head = WarmStartLogistic(prior="diagonal")
    head.fit_transfer(x.float(), y, None, z.float(), u, classes=3, seed=0)
    assert head(z.float()).dtype == torch.float32
    again = WarmStartLogistic()
    again.load_state_dict(head.state_dict())
    assert torch.equal(again(z.float()), head(z.float()))


@pytest.mark.parametrize("options", [{"prior": "laplace"}, {"strength": 0.0}, {"penalty": -1.0}])
def test_bad_options_name_their_key(options):
    with pytest.raises(ConfigError, match=f"^{next(iter(options))}"):
        WarmStartLogistic(**options)


def test_a_full_precision_of_too_many_parameters_is_refused(monkeypatch):
    monkeypatch.setattr("tl_research.heads.warm_start.MOST_OF_FULL", 4)
    with pytest.raises(ConfigError, match=r"^prior: got 'full', wants diagonal or proximal"):
        transferred(2, prior="full")
