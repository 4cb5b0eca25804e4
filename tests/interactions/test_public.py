"""The public sets: what is in them, and the twins that stand in the pages."""

import numpy as np
import pytest

from tl_research.errors import ConfigError, DataError
from tl_research.interactions.catalog.douban import DoubanConfig
from tl_research.interactions.public import amazon_pair, douban, markets
from tl_research.interactions.ratings import read_ratings
from tl_research.interactions.task import given_task
from tl_research.registry import DATASETS

LEAKED = {
    ("phone", "electronic"): 279,
    ("electronic", "phone"): 140,
    ("sport", "phone"): 31,
    ("phone", "sport"): 18,
    ("sport", "cloth"): 1190,
    ("cloth", "sport"): 959,
    ("cloth", "electronic"): 27,
    ("electronic", "cloth"): 14,
}


@pytest.mark.parametrize("pair", LEAKED, ids="<-".join)
def test_test_rows_that_the_other_department_gives_away(pair):
    found = amazon_pair(*pair)
    assert given_task(found.train, found.test, (found.source,), seed=0).test_leaked.sum() == LEAKED[pair]


def test_the_held_out_rows_of_both_departments():
    alone, both = amazon_pair("phone", "sport"), amazon_pair("phone", "sport", both=True)
    other = amazon_pair("sport", "phone")
    assert alone.source_test is None
    for name in ("train", "test", "source"):
        one, two = getattr(alone, name), getattr(both, name)
        assert (one.user == two.user).all()
        assert (one.item == two.item).all()
    assert len(both.source_test) == len(other.test)
    shift = both.source.item.min() - other.train.item.min()
    own = {*zip(both.source_test.user.tolist(), (both.source_test.item - shift).tolist(), strict=True)}
    assert own == {*zip(other.test.user.tolist(), other.test.item.tolist(), strict=True)}


def test_markets_share_items_and_no_users():
    shops = markets("de", ("uk",))
    target, source = shops.logs[1], shops.logs[0]
    assert len(set(target.item) & set(source.item)) == 1605
    assert not set(target.user) & set(source.user)


def test_an_unknown_pair_is_named():
    with pytest.raises(ValueError, match="no pair phone<-cloth"):
        amazon_pair("phone", "cloth")
    with pytest.raises(ValueError, match="no market 'us'"):
        markets("us", ("uk",))


def test_douban_shares_users_and_no_items():
    book, music = douban("book", "music")
    assert (len(book), len(music)) == (96041, 69709)
    assert [len(log.own_users()) for log in (book, music)] == [2110, 1672]
    assert [len(log.own_items()) for log in (book, music)] == [6777, 5567]
    assert len(set(book.user) & set(music.user)) == 1566
    assert not set(book.item) & set(music.item)
    assert {float(rating) for log in (book, music) for rating in log.rating} == {1, 2, 3, 4, 5}
    # The first line of the file, and the same user's mean in the other direction.
    assert (book.user[0], book.item[0], book.rating[0]) == (1, 1630, 4)
    other = douban("music", "book")[1]
    assert book.rating[book.user == 1].mean() == other.rating[other.user == 1].mean()
    with pytest.raises(ConfigError, match="no domain 'movie'"):
        douban("movie", "book")
    with pytest.raises(ConfigError, match="both 'book'"):
        douban("book", "book")


@pytest.mark.parametrize(
    ("protocol", "share"), [("leave_one_out", 0.2), ("ratio", 0.2), ("cold_user", 0.2), ("cold_user", 0.8)]
)
def test_douban_as_a_log_for_ranking(protocol, share):
    config = DoubanConfig(sources=["music"], target="book", protocol=protocol, cold_share=share)
    task = DATASETS.get("douban").target(config, 0).task
    assert sum(map(len, (task.train, task.val, task.test))) == 96041
    tests = np.bincount(task.test.user, minlength=task.test.users)
    if protocol == "leave_one_out":
        assert set(tests[task.test.own_users()]) == {1}
    elif protocol == "ratio":
        assert len(task.test) == len(task.val) == 9604
    else:
        assert len(task.test.own_users()) == round(share * 1566)
        trains = np.intersect1d(task.train.own_users(), task.sources[0].own_users())
        assert len(trains) >= 0.09 * 1566
        assert not set(task.train.user) & set(task.test.user)


def test_the_source_of_a_douban_run_is_the_other_domain():
    with pytest.raises(ConfigError, match=r"data\.sources"):
        DoubanConfig(sources=["book"], target="book")


RIGHT = ["1\t2\t3", "1\t3\t5"]
WRONG = {
    "row 2, column 'rating': got '6', wants a rating from 1 to 5": "1\t3\t6",
    "row 2, column 'rating': got '0', wants a rating from 1 to 5": "1\t3\t0",
    "row 2, column 'rating': got 'nan', wants a rating from 1 to 5": "1\t3\tnan",
    "row 2, column 'rating': got no value, wants a rating from 1 to 5": "1\t3\t",
    "row 2, column 'user': got 'x', wants a whole number": "x\t3\t4",
    "row 2, column 'item': got '1.5', wants a whole number": "1\t1.5\t4",
    "row 2: user 1 has rated item 2 before": "1\t2\t4",
    "cannot be read as a table": "1\t2\t3\t4\t5",
}


@pytest.mark.parametrize("message", WRONG)
def test_a_rating_that_is_none_is_named(tmp_path, message):
    path = tmp_path / "ratings.dat"
    path.write_text("\n".join([RIGHT[0], WRONG[message]]))
    with pytest.raises(DataError, match=message):
        read_ratings(path, least=1, most=5)


def test_ratings_are_read(tmp_path):
    path = tmp_path / "ratings.dat"
    path.write_text("\n".join(RIGHT))
    assert [column.tolist() for column in read_ratings(path, least=1, most=5)] == [[1, 1], [2, 3], [3, 5]]
    path.write_text("1\t2\n")
    with pytest.raises(DataError, match="2 columns, wants 3"):
        read_ratings(path, least=1, most=5)
    path.write_text("")
    with pytest.raises(DataError, match="cannot be read"):
        read_ratings(path, least=1, most=5)
