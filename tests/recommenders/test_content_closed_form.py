"""Recommenders by attributes in closed form: against scikit-learn's ridge user by user, and against loops."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from tests.recommenders.test_closed_form import scores, shops
from tl_research.interactions.content import Attributes
from tl_research.interactions.training import Training
from tl_research.recommend.model import RecommenderModel
from tl_research.recommenders.content import ContentKNN, ContentRidge
from tl_research.recommenders.new_items import NewItems

LACKS = 4


def described(unsold: tuple[int, ...] = (), seed: int = 3) -> Training:
    """Two shops; every item but one has three attributes."""
    training = shops()
    items = np.setdiff1d(np.arange(training.target.items), [LACKS])
    table = pd.DataFrame(np.random.default_rng(seed).normal(size=(len(items), 3)), columns=list("abc"))
    table.iloc[:, 1] += 2 * table.iloc[:, 0]
    return replace(training, unsold=unsold, attributes=Attributes(items, table, "items.csv"))


@pytest.mark.parametrize("use_sources", [False, True])
def test_content_ridge_is_a_ridge_per_user(use_sources):
    training = described()
    x = (training.both if use_sources else training.own).toarray()
    learns = np.setdiff1d(np.flatnonzero(x.sum(0)), [LACKS])
    content = training.content.astype(float)
    found = scores(ContentRidge(ridge=0.2, use_sources=use_sources), training)
    places = np.flatnonzero(training.catalogue != LACKS)
    for user in range(len(x)):
        line = Ridge(alpha=0.2 * len(learns)).fit(content[learns], x[user, learns])
        wanted = content[training.catalogue] @ line.coef_
        # A score is up to the user's own constant, which ranks nothing.
        gap = (found[user] - wanted)[places]
        np.testing.assert_allclose(gap, gap[0], atol=1e-5)
    mean = content[learns].mean(0)
    assert np.allclose(found[:, training.catalogue == LACKS], 0, atol=1e-6)
    common = scores(ContentRidge(ridge=0.2, common=2.0, use_sources=use_sources), training)
    buyers = x.sum(1) > 0
    line = Ridge(alpha=0.2 * len(learns)).fit(content[learns], x[buyers][:, learns].mean(0))
    np.testing.assert_allclose(
        (common - found)[:, places],
        np.tile(2 * (content[training.catalogue[places]] - mean) @ line.coef_, (len(x), 1)),
        atol=1e-5,
    )


def test_a_ridge_without_end_ranks_by_the_sum_of_what_was_bought():
    training = described()
    found = scores(ContentRidge(ridge=1e6), training)
    learns = np.setdiff1d(training.target.own_items(), [LACKS])
    a = training.content - training.content[learns].mean(0)
    a[LACKS] = 0
    wanted = training.own.toarray() @ a @ a[training.catalogue].T
    np.testing.assert_allclose(found * 1e6 * len(learns), wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("use_sources", [False, True])
def test_content_knn_is_the_sum_of_cosines_of_attributes(use_sources):
    training = described()
    x = (training.both if use_sources else training.own).toarray()
    learns = np.setdiff1d(np.flatnonzero(x.sum(0)), [LACKS])
    a = training.content - training.content[learns].mean(0)
    a[LACKS] = 0
    wanted = np.zeros((len(x), len(training.catalogue)))
    for place, item in enumerate(training.catalogue):
        for other in learns:
            if other != item and item != LACKS:
                cosine = a[item] @ a[other] / np.linalg.norm(a[item]) / np.linalg.norm(a[other])
                wanted[:, place] += x[:, other] * max(0, cosine)
    np.testing.assert_allclose(scores(ContentKNN(1000, use_sources), training), wanted, atol=1e-5)
    near = ContentKNN(3, use_sources).fit(training).similarity.toarray()
    full = ContentKNN(1000, use_sources).fit(training).similarity.toarray()
    for few, all_of_them in zip(near, full, strict=True):
        np.testing.assert_allclose(np.sort(few[few > 0]), np.sort(all_of_them[all_of_them > 0])[-3:], atol=1e-6)


def test_a_new_item_is_scored_and_its_attributes_move_no_other_score():
    unsold = (13,)
    training = described(unsold)
    keeps = training.target.item != 13
    training = replace(training, target=training.target.take(keeps), sources=())
    item = training.attributes.item
    table = training.attributes.table.copy()
    table.loc[item == 13] *= 50
    moved = replace(training, attributes=replace(training.attributes, table=table))
    for method in (ContentRidge(common=1.0), ContentKNN(1000)):
        one, other = scores(method, training), scores(method, moved)
        new = training.catalogue == 13
        assert np.abs(one[:, new]).max() > 0
        np.testing.assert_array_equal(one[:, ~new], other[:, ~new])
        assert (one[:, new] != other[:, new]).any()


def test_new_items_come_first_in_random_order():
    training = described((20, 21))
    found = scores(NewItems(), training)
    is_new = np.isin(training.catalogue, [20, 21])
    assert (found[:, is_new] >= 1).all()
    assert (found[:, ~is_new] < 0.5).all()
    first, second = found[:, is_new].T
    assert 0.25 < (first > second).mean() < 0.75
    np.testing.assert_array_equal(found, NewItems().fit(training).score(np.arange(len(found))))
    assert (found != NewItems().fit(training, seed=1).score(np.arange(len(found)))).all()


@pytest.mark.parametrize(
    "method", [ContentRidge(common=1.0), ContentKNN(), NewItems()], ids=lambda method: type(method).__name__
)
def test_a_model_file_scores_as_the_model_did(method, tmp_path):
    training = described((20,))
    method.fit(training)
    names = [np.array([f"{what}{code}" for code in range(size)], dtype=object)
             for what, size in zip("ui", training.own.shape, strict=True)]  # fmt: skip
    RecommenderModel(method, *names, training.own, training.catalogue).save(tmp_path)
    found = RecommenderModel.load(tmp_path).recommender
    every = np.arange(training.own.shape[0])
    assert (found.score(every) == method.score(every)).all()


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="no attributes"):
        ContentRidge().fit(shops())
    with pytest.raises(ValueError, match=r"^ridge: got 0"):
        ContentRidge(ridge=0)
    with pytest.raises(ValueError, match=r"^neighbours: got 0"):
        ContentKNN(0)
