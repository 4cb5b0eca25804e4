"""Which rows are on one side of a split: against loops, and where equal rows mean nothing."""

import itertools

import numpy as np
import pandas as pd
import pytest

from tl_research.answer.groups import groups_of
from tl_research.data.audit.coincidence import are_copies, equals_by_chance
from tl_research.data.audit.overlap import feature_keys
from tl_research.data.domain import Domain
from tl_research.data.modalities import Modalities
from tl_research.errors import ConfigError


def domain(inputs):
    return Domain("new", inputs, np.zeros(inputs.shape[0], dtype=np.int64), ("0", "1"), origin="new.csv")


def shop(rows=60, seed=0):
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {"age": random.normal(size=rows), "spent": random.normal(size=rows), "city": random.choice(["a", "b"], rows)}
    )


def together(groups):
    """Pairs of rows of one group."""
    return {(i, j) for i, j in itertools.combinations(range(len(groups)), 2) if groups[i] == groups[j]}


def test_rows_without_an_equal_are_groups_of_their_own():
    assert together(groups_of(domain(shop()))) == set()


def test_equal_rows_share_a_group_and_no_others_do():
    frame = shop()
    frame.iloc[[7, 30]] = frame.iloc[[3, 3]].to_numpy()
    frame.loc[[11, 12], "age"] = np.nan
    frame.iloc[12] = frame.iloc[11]
    assert together(groups_of(domain(frame))) == {(3, 7), (3, 30), (7, 30), (11, 12)}
    assert together(groups_of(domain(frame.drop(columns="city").to_numpy()))) >= {(3, 7), (3, 30), (7, 30)}


def test_a_row_number_does_not_hide_twins():
    frame = pd.concat([shop(30), shop(30)], ignore_index=True).assign(id=range(60))
    assert together(groups_of(domain(frame))) == set()
    assert together(groups_of(domain(frame), ignored=["id"])) == {(row, row + 30) for row in range(30)}


def test_every_row_twice_is_still_a_copy():
    frame = pd.concat([shop(30)] * 2, ignore_index=True)
    assert together(groups_of(domain(frame))) == {(row, row + 30) for row in range(30)}


def test_rows_that_are_equal_by_chance_are_not_linked():
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"size": random.choice(list("SML"), 300), "colour": random.choice(list("rgb"), 300)})
    assert together(groups_of(domain(frame))) == set()


def test_how_many_equal_rows_a_row_meets_by_chance():
    random = np.random.default_rng(1)
    # All 60 x 50 rows once: of independent columns, n rows meet n / 3000 on average.
    frame = pd.DataFrame(list(itertools.product(range(60), range(50))), columns=["a", "b"]).sample(2000, random_state=0)
    drawn = domain(frame)
    assert equals_by_chance(drawn, feature_keys(drawn)) == pytest.approx(2000 / 3000, rel=0.1)
    continuous = domain(pd.DataFrame({"a": random.normal(size=50), "b": 1.0}))
    assert equals_by_chance(continuous, feature_keys(continuous)) == 0.0
    assert are_copies(continuous, feature_keys(continuous))


def test_rows_of_one_customer_share_a_group_and_so_do_their_twins():
    frame = shop(12).assign(customer=[1, 1, 2, 2, 3, 4, 5, 6, None, None, 7, 8])
    frame.loc[7, ["age", "spent", "city"]] = frame.loc[0, ["age", "spent", "city"]].to_numpy()
    # 6 is a twin of 1's first row; rows without a customer stand alone.
    assert together(groups_of(domain(frame), "customer")) == {(0, 1), (0, 7), (1, 7), (2, 3)}


def test_a_column_that_there_is_not():
    with pytest.raises(ConfigError, match=r"--group: new\.csv has no column 'custmer'; did you mean 'customer'"):
        groups_of(domain(shop().assign(customer=1)), "custmer")
    with pytest.raises(ConfigError, match="no column 'x'"):
        groups_of(domain(shop(seed=1).drop(columns="city").to_numpy()), "x")


def test_texts_that_differ_in_marks_and_capitals_alone_are_one():
    text = np.array(["A fine dress!", "a fine dress", "A dress", None, *map(str, range(40)), None], dtype=object)
    table = pd.DataFrame({"age": [1.0, 1.0, 1.0, *np.arange(42) / 7]})
    assert together(groups_of(domain(Modalities(text=text, table=table)))) == {(0, 1)}
