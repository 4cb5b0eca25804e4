"""Rating models against means by hand, normal equations in float64 and planted ratings."""

import numpy as np
import pytest

from tl_research.interactions.log import Log
from tl_research.interactions.training import Training
from tl_research.recommenders.rating import GlobalMean, ItemMean, UserMean
from tl_research.recommenders.rating_bridge import BridgedFactors, affine_map, mapped
from tl_research.recommenders.rating_factors import BiasedFactors

HAND = Log(
    "new", np.array([0, 0, 1, 1, 1]), np.array([0, 1, 0, 1, 2]), 4, 6, rating=np.array([5, 3, 4, 2, 1], np.float32)
)
OLD = Log("old", np.array([0, 2, 2]), np.array([4, 4, 5]), 4, 6, rating=np.array([1, 4, 4], np.float32))


def test_constants_by_hand():
    training, user, item = Training(HAND, (OLD,)), np.array([0, 1, 2, 3]), np.array([0, 1, 2, 3])
    assert GlobalMean().fit(training).predict(user, item).tolist() == [3.0] * 4
    np.testing.assert_allclose(UserMean().fit(training).predict(user, item), [4, 7 / 3, 3, 3])
    # The old shop's mean is 3: user 0 is 2 below it there, and 2 above and at the mean here; user 2 is 1 above.
    np.testing.assert_allclose(UserMean(use_sources=True).fit(training).predict(user, item), [3, 7 / 3, 4, 3])
    np.testing.assert_allclose(ItemMean().fit(training).predict(user, item), [4.5, 2.5, 1, 3])


def shops(seed: int, *, users: int = 60, items: int = 25, rank: int = 2, share: float = 0.6, noise: float = 0.0):
    """Two shops that the same users rate by the same planted vectors; the old one's items come last."""
    draw = np.random.default_rng(seed)
    theta, factors = draw.normal(size=(users, 1 + rank)), draw.normal(size=(2 * items, 1 + rank))
    whole = 3 + theta[:, :1] + factors[:, 0] + theta[:, 1:] @ factors[:, 1:].T
    logs = []
    for name, first in (("new", 0), ("old", items)):
        user, item = np.nonzero(draw.random((users, items)) < share)
        rating = whole[user, first + item] + noise * draw.normal(size=len(user))
        logs.append(Log(name, user, first + item, users, 2 * items, rating=rating.astype(np.float32)))
    return whole, *logs


def test_biases_and_factors_solve_their_normal_equations():
    _, new, old = shops(0)
    made = BiasedFactors(rank=2, ridge=0.7, bias_ridge=0.3, sweeps=300, use_sources=True).fit(Training(new, (old,)))
    rows = [(log, log.rating.astype(float) - log.rating.astype(float).mean()) for log in (new, old)]
    for code, side, other in ((0, "user", "item"), (13, "user", "item"), (2, "item", "user"), (30, "item", "user")):
        own, columns = (made.users, made.items) if side == "user" else (made.items, made.users)
        gram, wanted = np.diag([0.3, 0.7, 0.7]), np.zeros(3)
        for log, value in rows:
            for row in np.flatnonzero(getattr(log, side) == code):
                there = columns[getattr(log, other)[row]]
                x = np.array([1.0, *there[1:]])
                gram, wanted = gram + np.outer(x, x), wanted + (value[row] - there[0]) * x
        # Items were solved last; users have moved less and less.
        atol = 1e-10 if side == "item" else 1e-5
        np.testing.assert_allclose(own[code], np.linalg.solve(gram, wanted), rtol=0, atol=atol)


def test_without_factors_it_is_one_ridge_regression_on_users_and_items():
    _, new, _ = shops(1, noise=0.5)
    design = np.zeros((len(new), new.users + new.items))
    design[np.arange(len(new)), new.user] = design[np.arange(len(new)), new.users + new.item] = 1
    rating = new.rating.astype(float)
    wanted = np.linalg.solve(design.T @ design + 2.0 * np.eye(design.shape[1]), design.T @ (rating - rating.mean()))
    made = BiasedFactors(rank=0, bias_ridge=2.0, sweeps=200).fit(Training(new))
    np.testing.assert_allclose(np.concatenate([made.users[:, 0], made.items[:, 0]]), wanted, atol=1e-8)


def test_a_pair_in_two_logs_counts_twice():
    user, item = np.array([0, 0, 1]), np.array([0, 1, 0])
    log = Log("new", user, item, 2, 2, rating=np.array([1, 2, 5], np.float32))
    twice = Log("old", user, item, 2, 2, rating=log.rating)
    both = BiasedFactors(rank=1, ridge=2.0, bias_ridge=2.0, use_sources=True).fit(Training(log, (twice,)))
    once = BiasedFactors(rank=1, ridge=1.0, bias_ridge=1.0).fit(Training(log))
    np.testing.assert_allclose(both.users, once.users)


def rmse(made, whole, user, item):
    return np.sqrt(np.mean((made.raw(user, item) - whole[user, item]) ** 2))


def test_planted_ratings_are_recovered():
    whole, new, _ = shops(2)
    unseen = np.ones((new.users, 25), bool)
    unseen[new.user, new.item] = False
    made = BiasedFactors(rank=2, ridge=1e-3, bias_ridge=1e-3, sweeps=100).fit(Training(new))
    assert rmse(made, whole, *np.nonzero(unseen)) < 0.05
    assert rmse(BiasedFactors(rank=0).fit(Training(new)), whole, *np.nonzero(unseen)) > 0.5


@pytest.fixture(scope="module")
def cold():
    """Ratings of a third of the users in the new shop are held out whole."""
    whole, new, old = shops(3, users=90)
    held_out = new.user < 30
    return whole, Training(new.take(~held_out), (old,)), new.user[held_out], new.item[held_out]


def test_the_bridge_recovers_planted_ratings_of_cold_users(cold):
    whole, training, user, item = cold
    made = BridgedFactors(rank=2, ridge=1e-2, bias_ridge=1e-2, map_ridge=1e-3, sweeps=100).fit(training)
    # The two shops' vectors are told up to a turn each; the map has to find it.
    assert rmse(made, whole, user, item) < 0.15
    assert rmse(ItemMean().fit(training), whole, user, item) > 1.0
    # The factors on all find it too, and a bridge to a shop of other tastes does not.
    joint = BiasedFactors(rank=2, ridge=1e-2, bias_ridge=1e-2, sweeps=100, use_sources=True).fit(training)
    assert rmse(joint, whole, user, item) < 0.15
    other = shops(4, users=90)[2]
    made = BridgedFactors(rank=2, ridge=1e-2, bias_ridge=1e-2, map_ridge=1e-3, sweeps=100)
    assert rmse(made.fit(Training(training.target, (other,))), whole, user, item) > 1.0


def test_a_user_with_ratings_keeps_the_own_vector(cold):
    _, training, *_ = cold
    made = BridgedFactors(rank=2).fit(training)
    own = BiasedFactors(rank=2).fit(Training(training.target))
    warm = np.unique(training.target.user)
    assert np.array_equal(made.users[warm], own.users[warm])
    assert (own.users[:30] == 0).all()
    assert (made.users[:30] != 0).any()


def test_the_map_is_the_ridge_regression_with_a_free_intercept():
    draw = np.random.default_rng(0)
    old, new = draw.normal(size=(40, 3)) + 1, draw.normal(size=(40, 2)) + 2
    x = np.hstack([np.ones((40, 1)), old])
    wanted = np.linalg.solve(x.T @ x + np.diag([0, 1.5, 1.5, 1.5]), x.T @ new)
    found = affine_map(old, new, 1.5)
    np.testing.assert_allclose(found, wanted, atol=1e-10)
    np.testing.assert_allclose(mapped(found, old), x @ wanted)


def test_predictions_stay_within_the_range_of_the_ratings():
    _, new, _ = shops(5)
    made = BiasedFactors(rank=2, ridge=0.01).fit(Training(new))
    user, item = np.divmod(np.arange(new.users * 25), 25)
    found = made.predict(user, item)
    assert found.min() >= new.rating.min()
    assert found.max() <= new.rating.max()
    assert (made.raw(user, item) != found).any()


def test_ratings_that_are_missing_are_refused():
    bare = Log("new", HAND.user, HAND.item, 4, 6)
    with pytest.raises(ValueError, match="new: has no ratings"):
        GlobalMean().fit(Training(bare))
    with pytest.raises(ValueError, match="old: has no ratings"):
        GlobalMean().fit(Training(HAND, (Log("old", OLD.user, OLD.item, 4, 6),)))
    broken = Log("new", HAND.user, HAND.item, 4, 6, rating=np.array([5, 3, np.nan, 2, 1], np.float32))
    with pytest.raises(ValueError, match="new, row 2: rating nan"):
        GlobalMean().fit(Training(broken))
    with pytest.raises(ValueError, match="no rating to learn from"):
        GlobalMean().fit(Training(HAND.take(np.zeros(5, bool))))
    with pytest.raises(ValueError, match="no source to bridge from"):
        BridgedFactors().fit(Training(HAND))
    with pytest.raises(ValueError, match="no user has a rating in both"):
        BridgedFactors().fit(Training(HAND, (OLD.take(OLD.user == 2),)))
    with pytest.raises(ValueError, match="rank: got -1"):
        BiasedFactors(rank=-1)
