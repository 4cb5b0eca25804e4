"""Differences of errors with intervals over users: by hand, against the paired t interval, and by coverage."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from tl_research.metrics.errors_by_user import difference, over_users


def test_differences_by_hand():
    first, second, user = np.array([1.0, -1, 3]), np.array([2.0, 0, 0]), np.array([4, 4, 9])
    mae, rmse = (difference(kind, first, second, user) for kind in ("mae", "rmse"))
    assert mae.value == pytest.approx(5 / 3 - 2 / 3)
    assert rmse.value == pytest.approx(np.sqrt(11 / 3) - np.sqrt(4 / 3))
    assert mae.users.tolist() == [4, 9]
    # g is -1, 1, 3 with mean 1: the first user adds (-2 + 0) / 3, the second 2 / 3.
    np.testing.assert_allclose(mae.influence, [-2 / 3, 2 / 3])
    with pytest.raises(ValueError, match="kind: got 'mse'"):
        difference("mse", first, second, user)


def test_with_one_row_per_user_it_is_the_paired_t_interval():
    draw = np.random.default_rng(0)
    first, second, user = draw.normal(size=50), draw.normal(size=50), draw.permutation(50)
    found = over_users([difference("mae", first, second, user)])
    wanted = ttest_1samp(np.abs(first) - np.abs(second), 0).confidence_interval()
    np.testing.assert_allclose(found[1:], (wanted.low, wanted.high))


def test_a_user_twice_is_no_second_user():
    draw = np.random.default_rng(1)
    first, second, user = draw.normal(size=60), draw.normal(size=60), np.repeat(np.arange(20), 3)
    once = difference("rmse", first, second, user)
    twice = difference("rmse", *(np.tile(part, 2) for part in (first, second, user)))
    np.testing.assert_allclose(over_users([twice]), over_users([once]))
    np.testing.assert_allclose(over_users([once, once]), over_users([once]))
    assert over_users([difference("mae", first[:3], second[:3], user[:3])])[1:] == (-np.inf, np.inf)


@pytest.mark.parametrize("kind", ["mae", "rmse"])
def test_intervals_cover_where_users_differ_and_have_many_rows_or_few(kind):
    draw = np.random.default_rng(2)

    def rows(users):
        count = 1 + draw.poisson(6 * draw.gamma(0.7, size=users))
        user = np.repeat(np.arange(users), count)
        scale = np.exp(0.4 * draw.normal(size=(2, users)))[:, user]
        common = draw.normal(size=len(user))
        return (*(scale * (common + 0.5 * draw.normal(size=(2, len(user))))), user)

    truth = difference(kind, *rows(200_000)).value
    ends = [over_users([difference(kind, *rows(150))])[1:] for _ in range(400)]
    covered = np.mean([low <= truth <= high for low, high in ends])
    assert 0.91 <= covered <= 0.985
