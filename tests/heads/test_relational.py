"""Oracles: dense Gaussian algebra in numpy, the restricted likelihood, scikit-learn at the ends, planted entities."""

import numpy as np
import pytest
import torch
from scipy.stats import t as student
from sklearn.linear_model import LogisticRegression, Ridge

from tl_research.errors import ConfigError, DataError
from tl_research.heads.hierarchy import Entities, Prior, estimate_prior, posterior_means
from tl_research.heads.relational import MOST_PARAMETERS, Group, RelationalLogistic, RelationalRidge, squares_of
from tl_research.heads.warm_start import with_one

WIDTH = 4


def planted(entities, rows, seed, *, spread=0.3, mean=1.0, noise=0.5, classes=None):
    """Groups of rows whose parameters are drawn around a common mean, and the parameters (entities, WIDTH + 1)."""
    random = np.random.default_rng(seed)
    m = mean * np.random.default_rng(99).normal(size=WIDTH + 1)
    w = m + np.sqrt(spread) * random.normal(size=(entities, WIDTH + 1))
    groups = []
    for own, count in zip(w, np.broadcast_to(rows, entities)):
        x = random.normal(size=(count, WIDTH))
        score = x @ own[:-1] + own[-1]
        if classes:
            label = torch.from_numpy((random.random(count) < 1 / (1 + np.exp(-score))).astype(np.int64))
        else:
            label = torch.from_numpy(score + noise * random.normal(size=count))
        groups.append(Group(torch.from_numpy(x), label))
    return groups, w


def with_ones(x):
    return np.c_[x, np.ones(len(x))]


def test_the_posterior_mean_is_the_closed_form():
    groups, _ = planted(3, [5, 30, 3], 0)
    entities = squares_of(groups, 0.7)
    prior = Prior(torch.randn(WIDTH + 1).double(), torch.rand(WIDTH + 1).double() + 0.1, 0.4, 0)
    found = posterior_means(entities.gram, entities.moment, prior)
    m, precision = prior.mean.numpy(), np.diag(1 / prior.spread.numpy())
    own = 0.7 * np.diag([1.0] * WIDTH + [0.0])
    for group, w in zip(groups, found.numpy()):
        x, y = with_ones(group.x.numpy()), group.label.numpy()
        left = (x.T @ x + own) / 0.4 + precision
        np.testing.assert_allclose(w, np.linalg.solve(left, x.T @ y / 0.4 + precision @ m), rtol=1e-9)


def test_at_its_ends_it_is_the_mean_and_the_own_ridge():
    groups, _ = planted(1, 12, 1)
    entities = squares_of(groups, 2.0)
    mean = torch.arange(WIDTH + 1).double()

    def at(spread):
        prior = Prior(mean, torch.full_like(mean, spread), 0.3, 0)
        return posterior_means(entities.gram, entities.moment, prior)[0]

    torch.testing.assert_close(at(0.0), mean)
    torch.testing.assert_close(at(1e-12), mean, atol=1e-8, rtol=0)
    own = Ridge(alpha=2.0).fit(groups[0].x.numpy(), groups[0].label.numpy())
    np.testing.assert_allclose(at(1e12).numpy(), [*own.coef_, own.intercept_], rtol=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_of_classes_its_ends_are_the_mean_and_the_own_logistic_regression(classes):
    (group,), _ = planted(1, 60, 1, classes=2)
    if classes == 3:
        group = group._replace(label=group.label + (group.x[:, 0] > 0.5))
    outputs = 1 if classes == 2 else 3
    p = outputs * (WIDTH + 1)
    head, mean = RelationalLogistic(penalty=2.0), torch.linspace(-1, 1, p).double()

    def at(spread):
        return head.maximum(group, torch.zeros(p).double(), outputs, Prior(mean, torch.full_like(mean, spread), 1.0, 0))

    torch.testing.assert_close(at(1e-10), mean, atol=1e-6, rtol=0)
    own = LogisticRegression(C=0.5, tol=1e-12, max_iter=10_000).fit(group.x.numpy(), group.label.numpy())
    w = at(1e10).reshape(outputs, -1)
    np.testing.assert_allclose(w[:, :-1].numpy(), own.coef_, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_of_classes_the_gradient_is_zero_at_the_maximum(classes):
    (group,), _ = planted(1, 40, 2, classes=2)
    if classes == 3:
        group = group._replace(label=group.label + (group.x[:, 0] > 0.5))
    group = group._replace(weight=torch.linspace(0.2, 2, 40).double())
    outputs = 1 if classes == 2 else 3
    p = outputs * (WIDTH + 1)
    prior = Prior(torch.linspace(-1, 1, p).double(), torch.linspace(0.1, 3, p).double(), 1.0, 0)
    head = RelationalLogistic(penalty=0.8)
    w = head.maximum(group, torch.zeros(p).double(), outputs, prior).requires_grad_(True)
    score = with_one(group.x) @ w.reshape(outputs, -1).T
    score = torch.cat([torch.zeros_like(score), score], dim=1) if outputs == 1 else score
    loss = group.weight @ torch.nn.functional.cross_entropy(score, group.label, reduction="none")
    loss = loss + 0.4 * w.reshape(outputs, -1)[:, :-1].square().sum()
    loss = loss + 0.5 * ((w - prior.mean).square() / prior.spread).sum()
    assert loss.item() == pytest.approx(head.value(group, w.detach(), outputs, prior))
    (gradient,) = torch.autograd.grad(loss, w)
    assert gradient.abs().max() < 1e-7


def restricted_likelihood(groups, spread, noise):
    """log p(y) with a flat prior on m, of dense covariances: the definition."""
    fisher, pulled, value = 0.0, 0.0, 0.0
    for group in groups:
        x, y = with_ones(group.x.numpy()), group.label.numpy()
        covariance = noise * np.eye(len(y)) + x @ np.diag(spread) @ x.T
        inverse = np.linalg.inv(covariance)
        value -= (np.linalg.slogdet(covariance)[1] + y @ inverse @ y) / 2
        fisher, pulled = fisher + x.T @ inverse @ x, pulled + x.T @ inverse @ y
    return value + (pulled @ np.linalg.solve(fisher, pulled) - np.linalg.slogdet(fisher)[1]) / 2


def test_the_estimate_is_a_maximum_of_the_restricted_likelihood():
    groups, _ = planted(8, [6, 40, 12, 9, 30, 3, 25, 8], 3)
    prior = estimate_prior(squares_of(groups, 0.0)._replace(rows=sum(len(group.label) for group in groups)))
    at = np.r_[np.log(prior.spread.numpy()), np.log(prior.noise)]

    def value(logs):
        return restricted_likelihood(groups, np.exp(logs[:-1]), np.exp(logs[-1]))

    best = value(at)
    for place in range(len(at)):
        step = np.zeros_like(at)
        step[place] = 1e-3
        slope = (value(at + step) - value(at - step)) / 2e-3
        assert abs(slope) < 5e-3, place  # against about E / 2 of a spread that is twice as large
        step[place] = 0.7
        assert max(value(at + step), value(at - step)) < best, place


def test_of_balanced_entities_it_is_the_textbook_variance():
    """X'X = n I and known noise: T_j = sample variance of the estimates, less noise / n; m is their mean."""
    random, n = np.random.default_rng(0), 20.0
    estimates = torch.from_numpy(random.normal(size=(12, 3)) * [0.3, 1.0, 2.0])
    prior = estimate_prior(Entities(n * torch.eye(3).double().expand(12, 3, 3), n * estimates))
    torch.testing.assert_close(prior.mean, estimates.mean(0))
    torch.testing.assert_close(prior.spread, estimates.var(0) - 1 / n, rtol=2e-3, atol=0)


def test_planted_mean_spread_and_noise_are_recovered():
    groups, w = planted(60, 80, 4, spread=np.array([0.0, 0.1, 0.5, 1.0, 2.0]))
    prior = estimate_prior(squares_of(groups, 1e-6))
    assert prior.noise == pytest.approx(0.25, rel=0.1)
    np.testing.assert_allclose(prior.mean.numpy(), w.mean(0), atol=0.05)
    np.testing.assert_allclose(prior.spread.numpy(), w.var(0, ddof=1), rtol=0.1, atol=0.005)


def one_entity_is(groups):
    prior = estimate_prior(squares_of(groups, 1.0))
    assert prior.spread.isfinite().all()
    return prior.mean


def test_one_entity_alone_is_its_own_ridge():
    groups, _ = planted(1, 30, 5)
    own = Ridge(alpha=1.0).fit(groups[0].x.numpy(), groups[0].label.numpy())
    np.testing.assert_allclose(one_entity_is(groups).numpy(), [*own.coef_, own.intercept_], rtol=1e-6)


def scores_of_ridges(seed, *, labels=8, **options):
    """Squared error at new rows of the last of seven entities: by the prior, by its own ridge, by the pooled ridge."""
    groups, w = planted(7, [300] * 6 + [labels], seed, **options)
    x = np.random.default_rng([seed, 1]).normal(size=(500, WIDTH))
    truth = with_ones(x) @ w[-1]
    head = RelationalRidge(penalty=1.0)
    head.fit_groups(groups, classes=1)
    pooled = Ridge().fit(*(torch.cat([getattr(g, name) for g in groups]).numpy() for name in ("x", "label")))
    own = Ridge().fit(groups[-1].x.numpy(), groups[-1].label.numpy())
    said = [head(torch.from_numpy(x))[:, 0].numpy(), own.predict(x), pooled.predict(x)]
    return [np.mean((each - truth) ** 2) for each in said]


def lower_end(differences):
    """Of the 95 % interval of a mean."""
    half = student.ppf(0.975, len(differences) - 1) * np.std(differences, ddof=1) / np.sqrt(len(differences))
    return np.mean(differences) - half


def test_with_relatives_it_beats_the_own_and_the_pooled_ridge():
    ours, own, pooled = np.array([scores_of_ridges(seed, spread=0.1) for seed in range(20)]).T
    assert lower_end(own - ours) > 0
    assert lower_end(pooled - ours) > 0
    assert ours.mean() < 0.7 * min(own.mean(), pooled.mean())


def test_of_unrelated_entities_it_is_no_worse_than_the_own_ridge():
    """Parameters spread about nothing as widely as the own ridge supposes."""
    ours, own, _ = np.array([scores_of_ridges(seed, spread=1.0, mean=0.0) for seed in range(20)]).T
    assert lower_end(ours - own) < 0
    assert ours.mean() < 1.1 * own.mean()


def losses_of_classifiers(seed, *, labels=20, **options):
    """Log loss at new rows of the last entity: by the prior, by its own and by the pooled logistic regression."""
    groups, w = planted(7, [300] * 6 + [labels], seed, classes=2, **options)
    random = np.random.default_rng([seed, 1])
    x = random.normal(size=(2000, WIDTH))
    p = 1 / (1 + np.exp(-with_ones(x) @ w[-1]))
    head = RelationalLogistic(penalty=1.0)
    head.fit_groups(groups, classes=2)
    pooled = LogisticRegression().fit(
        *(torch.cat([getattr(g, name) for g in groups]).numpy() for name in Group._fields[:2])
    )
    own = LogisticRegression().fit(groups[-1].x.numpy(), groups[-1].label.numpy())
    logits = [
        head(torch.from_numpy(x)).diff(dim=1)[:, 0].numpy(),
        own.decision_function(x),
        pooled.decision_function(x),
    ]
    return [np.mean(np.logaddexp(0, z) - p * z) for z in logits]


def test_classes_of_relatives_beat_the_own_and_the_pooled_model():
    ours, own, pooled = np.array([losses_of_classifiers(seed, spread=0.3, mean=0.5) for seed in range(25)]).T
    assert lower_end(own - ours) > 0
    assert lower_end(pooled - ours) > 0


def test_classes_of_unrelated_entities_are_no_worse_than_the_own_model():
    ours, own, _ = np.array([losses_of_classifiers(seed, spread=1.0, mean=0.0) for seed in range(15)]).T
    assert lower_end(ours - own) < 0
    assert ours.mean() < 1.05 * own.mean()


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_a_weight_of_two_is_a_row_twice(classes):
    groups, _ = planted(3, 30, 6, classes=2 if classes > 1 else None)
    if classes == 3:
        groups = [group._replace(label=group.label + (group.x[:, 0] > 0.5)) for group in groups]
    twice = torch.arange(30) % 3 == 0
    weighted = [group._replace(weight=1.0 + twice.double()) for group in groups[:-1]]
    repeated = [Group(torch.cat([g.x, g.x[twice]]), torch.cat([g.label, g.label[twice]])) for g in groups[:-1]]
    heads = []
    for relatives in (weighted, repeated):
        heads.append(RelationalRidge() if classes == 1 else RelationalLogistic())
        heads[-1].fit_groups([*relatives, groups[-1]], classes=classes)
    x = groups[0].x
    torch.testing.assert_close(heads[0](x), heads[1](x), rtol=1e-6, atol=1e-8)


def test_classes_that_an_entity_lacks():
    groups, _ = planted(4, 80, 7, classes=2)
    groups = [group._replace(label=group.label + (group.x[:, 0] > 0.5)) for group in groups]
    first, *middle, last = groups
    first, last = (
        Group(*(part[kept] for part in group[:2])) for group, kept in ((first, first.label < 2), (last, last.label > 0))
    )
    head = RelationalLogistic()
    head.fit_groups([first, *middle, last], classes=5)
    logits = head(last.x)
    assert logits.isfinite().all()
    assert logits[:, :3].argmax(1).float().std() > 0
    assert not torch.isin(logits.argmax(1), torch.tensor([3, 4])).any()
    only = RelationalLogistic()
    only.fit_groups([Group(each.x, torch.ones_like(each.label)) for each in groups], classes=2)
    assert (only(last.x).argmax(1) == 1).all()


def test_what_it_cannot_fit_is_one_error():
    x = torch.zeros(3, MOST_PARAMETERS)
    with pytest.raises(ConfigError, match=r"^name: relational_prior has 1,001 parameters per entity"):
        RelationalRidge().fit_groups([Group(x, torch.zeros(3))], classes=1)
    rows = Group(torch.randn(3, 2), torch.zeros(3), torch.tensor([1.0, -1.0, 1.0]))
    with pytest.raises(DataError, match="the weight of row 1 is -1"):
        RelationalRidge().fit_groups([rows], classes=1)


def test_a_state_loads_into_an_unfitted_head():
    groups, _ = planted(3, 30, 8)
    head, again = RelationalRidge(), RelationalRidge()
    head.fit_groups([Group(group.x.float(), group.label) for group in groups], classes=1)
    again.load_state_dict(head.state_dict())
    x = groups[0].x.float()
    assert torch.equal(head(x), again(x))
    assert head(x).shape == (30, 1)
    assert head(x).dtype == torch.float32
