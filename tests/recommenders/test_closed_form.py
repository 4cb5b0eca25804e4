"""Closed-form recommenders against their definitions, written densely and in float64."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from tl_research.interactions.log import Log
from tl_research.interactions.training import Training
from tl_research.recommenders.als import ImplicitALS
from tl_research.recommenders.ease import CrossEase, Ease, MarketEase, dense_ease, inverse_in_place
from tl_research.recommenders.graph_filter import CrossGraphFilter, GraphFilter
from tl_research.recommenders.item_knn import CoOccurrence, ItemKNN
from tl_research.recommenders.popularity import Popularity
from tl_research.recommenders.products import Products


def shops(users: int = 40, own: int = 12, other: int = 15, seed: int = 0) -> Training:
    """Two shops with some users in common, and items of their own."""
    draw = np.random.default_rng(seed)
    logs = []
    for name, first, items in (("new", 0, own), ("old", own, other)):
        bought = draw.random((users, items)) < 0.2
        bought[draw.random(users) < 0.2] = False
        bought[0, 0] = True
        user, item = np.nonzero(bought)
        logs.append(Log(name, user, item + first, users, own + other, time=draw.random(len(user))))
    return Training(logs[0], (logs[1],))


def scores(method, training) -> np.ndarray:
    return method.fit(training).score(np.arange(training.own.shape[0]))


@pytest.mark.parametrize("users", [9, 60], ids=["fewer users than items", "fewer items than users"])
@pytest.mark.parametrize("source_ridge", [7.0, np.inf])
def test_cross_ease_is_its_closed_form(users, source_ridge):
    training = shops(users)
    ridge = np.full(training.own.shape[1], source_ridge)
    ridge[training.catalogue] = 3.0
    if np.isinf(source_ridge):
        weight = dense_ease(training.own, np.full(len(ridge), 3.0))
        wanted = training.own @ weight[:, training.catalogue]
    else:
        wanted = training.both @ dense_ease(training.both, ridge)[:, training.catalogue]
    found = scores(CrossEase(3.0, source_ridge, dtype=np.float64), training)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    np.testing.assert_allclose(scores(CrossEase(3.0, source_ridge), training), wanted, atol=1e-4)


@pytest.mark.parametrize("users", [9, 60])
def test_cross_ease_with_an_infinite_source_ridge_is_ease(users):
    training = shops(users)
    alone = scores(Ease(5.0, dtype=np.float64), Training(training.target))
    np.testing.assert_allclose(scores(CrossEase(5.0, np.inf, dtype=np.float64), training), alone, atol=1e-9)
    near = scores(CrossEase(5.0, 1e9, dtype=np.float64), training)
    np.testing.assert_allclose(near, alone, atol=1e-6)


def test_ease_is_the_regression_of_each_item_on_all_others():
    training = shops(50)
    x = training.own.toarray().astype(float)[:, training.catalogue]
    for item in range(x.shape[1]):
        rest = np.delete(x, item, axis=1)
        weight = np.linalg.solve(rest.T @ rest + 4.0 * np.eye(rest.shape[1]), rest.T @ x[:, item])
        found = scores(Ease(4.0, dtype=np.float64), Training(training.target))[:, item]
        np.testing.assert_allclose(found, rest @ weight, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [3, 1500])
def test_the_inverse_is_the_inverse(size, dtype):
    half = np.random.default_rng(0).normal(size=(size, size)) / np.sqrt(size)
    matrix = half @ half.T + np.eye(size)
    wanted = np.linalg.inv(matrix)
    found = inverse_in_place(matrix.astype(dtype))
    np.testing.assert_allclose(found, wanted, atol=2e-4 if dtype is np.float32 else 1e-9)
    assert (found == found.T).all()


def test_a_matrix_that_is_not_positive_definite_is_refused():
    with pytest.raises(ValueError, match="not positive definite"):
        inverse_in_place(-np.eye(3))


def test_popularity_counts_buyers():
    training = shops()
    assert (scores(Popularity(), training)[3] == training.own.toarray().sum(0)[training.catalogue]).all()
    late = training.target.time >= np.quantile(training.target.time, 0.5)
    wanted = training.target.take(late).matrix().toarray().sum(0)[training.catalogue]
    assert (scores(Popularity(recent=0.5), training)[0] == wanted).all()


@pytest.mark.parametrize("use_sources", [False, True])
def test_item_knn_is_the_sum_of_cosines(use_sources):
    training = shops()
    x = (training.both if use_sources else training.own).toarray().astype(float)
    norm = np.sqrt((x**2).sum(0))
    similarity = x.T @ x / (norm[:, None] * norm + 2.0)
    np.fill_diagonal(similarity, 0)
    wanted = x @ similarity[:, training.catalogue]
    found = scores(ItemKNN(neighbours=1000, shrink=2.0, use_sources=use_sources), training)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_item_knn_keeps_the_nearest():
    training = shops()
    method = ItemKNN(neighbours=3, shrink=0.0).fit(training)
    full = ItemKNN(neighbours=1000, shrink=0.0).fit(training).similarity.toarray()
    kept = method.similarity.toarray()
    assert (np.count_nonzero(kept, axis=1) <= 3).all()
    for row, all_of_row in zip(kept, full, strict=True):
        assert sorted(row[row > 0]) == sorted(np.sort(all_of_row[all_of_row > 0])[-3:])


def test_co_occurrence_is_normalised_by_user():
    training = shops()
    x = training.both.toarray().astype(float)
    share = x / np.maximum(1, x.sum(1, keepdims=True))
    np.testing.assert_allclose(
        scores(CoOccurrence(use_sources=True), training), x @ share.T @ x[:, training.catalogue], atol=1e-4
    )


@pytest.mark.parametrize("use_sources", [False, True])
def test_graph_filter_is_its_formula(use_sources):
    training = shops()
    x = (training.both if use_sources else training.own).toarray().astype(float)
    by_user, by_item = x.sum(1), x.sum(0)
    power = lambda count, p: np.where(count > 0, np.maximum(count, 1e-12) ** p, 0.0)  # noqa: E731
    norm = power(by_user, -0.5)[:, None] * x * power(by_item, -0.5)
    vectors = np.linalg.svd(norm, full_matrices=False)[2][:5]
    ideal = power(by_item, -0.5)[:, None] * (vectors.T @ vectors) * np.sqrt(by_item)
    wanted = x @ (norm.T @ norm + 0.3 * ideal)
    found = scores(GraphFilter(rank=5, alpha=0.3, use_sources=use_sources), training)
    np.testing.assert_allclose(found, wanted[:, training.catalogue], atol=1e-4)


def test_without_a_bridge_the_cross_graph_filter_is_the_row_normalised_filter_of_the_target():
    training = shops()
    found = scores(CrossGraphFilter(bridge=0.0, history=0.0), training)
    linear = CoOccurrence().fit(training)
    assert found.shape == linear.score(np.arange(40)).shape
    x = training.own.toarray().astype(float)
    norm = x / np.sqrt(np.maximum(1, x.sum(1, keepdims=True)) * np.maximum(1, x.sum(0)))
    similarity = norm.T @ norm
    similarity /= np.maximum(1e-12, similarity.sum(1, keepdims=True))
    np.testing.assert_allclose(found, (x @ similarity)[:, training.catalogue], atol=1e-5)


METHODS = [
    Popularity(),
    ItemKNN(use_sources=True),
    Ease(5.0, use_sources=True),
    CrossEase(5.0, 5.0),
    GraphFilter(rank=4, use_sources=True),
    CrossGraphFilter(),
    CoOccurrence(use_sources=True),
    ImplicitALS(rank=8, use_sources=True),
]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_scores_follow_the_names_of_users(method):
    """Renaming the users of all logs renames the rows of the scores, and changes nothing else."""
    training, order = shops(), np.random.default_rng(1).permutation(40)
    renamed = [
        Log(log.name, order[log.user], log.item, log.users, log.items, time=log.time)
        for log in (training.target, *training.sources)
    ]
    before = scores(method, training)
    after = scores(method, Training(renamed[0], (renamed[1],)))
    np.testing.assert_allclose(after[order], before, atol=2e-4)


@pytest.mark.parametrize("method", METHODS[1:], ids=lambda method: type(method).__name__)
def test_planted_ties_between_the_shops_are_found(method):
    """Who buys item i in the old shop buys item i in the new one: users whom the new shop does not know are served."""
    draw = np.random.default_rng(0)
    taste = draw.random((300, 20)) < 0.15
    user, item = np.nonzero(taste)
    known = user < 200
    new = Log("new", user[known], item[known], 300, 40)
    old = Log("old", user, item + 20, 300, 40)
    method.fit(Training(new, (old,)))
    cold = np.arange(200, 300)
    right = taste[cold][:, method.catalogue]
    found = method.score(cold)
    assert (found[right][:, None] > found[~right]).mean() > 0.9


def test_an_empty_source_changes_nothing():
    training = shops()
    empty = Log("none", np.zeros(0, int), np.zeros(0, int), 40, 27)
    for method in METHODS:
        alone, with_empty = (scores(method, Training(training.target, logs)) for logs in ((), (empty,)))
        np.testing.assert_allclose(with_empty, alone, atol=1e-6)


def test_sources_are_sparse():
    assert sp.issparse(shops().both)


def test_market_ease_counts_the_other_market_by_its_weight():
    draw = np.random.default_rng(0)
    logs = [Log(name, *np.nonzero(draw.random((30, 9)) < 0.3), 30, 9) for name in ("new", "old")]
    training = Training(logs[0], (logs[1],))
    own, other = (log.matrix().toarray().astype(float) for log in logs)
    inverse = np.linalg.inv(own.T @ own + 0.2 * other.T @ other + 3.0 * np.eye(9))
    weight = -inverse / np.diag(inverse)
    np.fill_diagonal(weight, 0)
    found = scores(MarketEase(3.0, 0.2, dtype=np.float64), training)
    np.testing.assert_allclose(found, own @ weight, atol=1e-6)
    alone = scores(Ease(3.0, dtype=np.float64), Training(logs[0]))
    np.testing.assert_allclose(scores(MarketEase(3.0, 1e-9, dtype=np.float64), training), alone, atol=1e-6)


def test_als_solves_the_normal_equations():
    training = shops()
    method = ImplicitALS(rank=4, ridge=0.5, alpha=3.0, steps=8)
    draw = np.random.default_rng(0)
    users, items = draw.normal(size=(40, 4)).astype(np.float32), draw.normal(size=(27, 4)).astype(np.float32)
    found = method.solved(training.both, users, items)
    x = training.both.toarray()
    for user in range(40):
        own = items[x[user] > 0].astype(float)
        left = items.T.astype(float) @ items + 3.0 * own.T @ own + 0.5 * np.eye(4)
        np.testing.assert_allclose(found[user], np.linalg.solve(left, 4.0 * own.sum(0)), atol=1e-4)


@pytest.mark.parametrize("threads", [1, 2])
def test_products_and_sums_at_entries_are_those_of_a_loop(threads):
    draw = np.random.default_rng(0)
    dense = (draw.random((40, 30)) < 0.2).astype(np.float32)
    dense[[3, 39]] = 0
    bought = sp.csr_matrix(dense)
    rows, columns = (draw.normal(size=(size, 8)).astype(np.float32) for size in (40, 30))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        fit = Products(bought, columns)
        value = fit.at_entries(rows, scale=2.0).numpy().copy()
        sums = fit.sums(torch.from_numpy(value))
    finally:
        torch.set_num_threads(before)
    at = np.repeat(np.arange(40), np.diff(bought.indptr))
    own = columns[bought.indices].astype(np.float64)
    np.testing.assert_allclose(value, 2 * (rows[at].astype(np.float64) * own).sum(1), atol=1e-5)
    wanted = np.zeros((40, 8))
    np.add.at(wanted, at, value[:, None] * own)
    np.testing.assert_allclose(sums, wanted, atol=1e-4)
    assert not sums[[3, 39]].any()


def test_als_lowers_its_objective():
    training = shops()
    x = training.both.toarray()
    weight = 1 + 10.0 * x

    def objective(sweeps):
        method = ImplicitALS(rank=4, sweeps=sweeps, use_sources=True).fit(training)
        p, q = method.user_factors, method.item_factors
        own = x[:, method.catalogue]
        return (weight[:, method.catalogue] * (own - p @ q.T) ** 2).sum()

    assert objective(12) < objective(2) < objective(0)
