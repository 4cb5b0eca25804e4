"""The public sets: what is in them, and the twins that stand in the pages."""

import pytest

from tl_research.interactions.public import amazon_pair, markets
from tl_research.interactions.task import given_task

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
