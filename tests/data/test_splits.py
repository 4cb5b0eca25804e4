from itertools import pairwise

import numpy as np
import pytest

from tl_research.data.domain import Domain
from tl_research.data.splits import draw_shots, split_rows
from tl_research.errors import DataError


def domain(rows=200, classes=("no", "yes"), split=None, seed=0, name="shop") -> Domain:
    rng = np.random.default_rng(seed)
    return Domain(name, rng.normal(size=(rows, 3)), rng.integers(0, len(classes), rows), classes, split)


@pytest.mark.parametrize("val_fraction", [0.0, 0.1, 0.5])
def test_parts_are_disjoint_and_cover_the_domain(val_fraction):
    rows = split_rows(domain(), seed=0, val_fraction=val_fraction, test_fraction=0.25)
    assert len(rows.test) == 50
    assert len(rows.val) == round(150 * val_fraction)
    assert sorted(np.concatenate([rows.train, rows.val, rows.test])) == list(range(200))


def test_a_split_of_the_data_set_is_kept():
    given = np.array([0] * 150 + [1] * 50)
    rows = split_rows(domain(split=given), seed=5, val_fraction=0.1, test_fraction=0.9)
    assert (rows.test == np.arange(150, 200)).all()
    assert len(rows.val) == 15


def test_the_split_depends_on_seed_and_name_and_not_on_labels():
    def train(**kwargs):
        shop = domain(name=kwargs.get("name", "shop"))
        if kwargs.get("flip"):
            shop.label = 1 - shop.label
        return split_rows(shop, seed=kwargs.get("seed", 0), val_fraction=0.1, test_fraction=0.25).train.tolist()

    assert train() == train(flip=True)
    assert train() != train(seed=1)
    assert train() != train(name="market")


def test_too_small_a_domain_is_refused():
    with pytest.raises(DataError, match="too few"):
        split_rows(domain(rows=1), seed=0, val_fraction=0.1, test_fraction=0.25)


@pytest.mark.parametrize(("shots", "held_out"), [(1, 0), (4, 0), (5, 1), (20, 4)])
def test_shots_are_the_whole_budget_and_a_fifth_validates(shots, held_out):
    shop = domain()
    pool = np.arange(0, 150)
    shown = draw_shots(shop, pool, shots, seed=0)
    for code in (0, 1):
        assert (shop.label[shown.train] == code).sum() == shots - held_out
        assert (shop.label[shown.val] == code).sum() == held_out
    assert not set(shown.train) & set(shown.val)
    assert set(shown.train) | set(shown.val) <= set(pool)


def test_larger_budgets_contain_the_smaller():
    shop, pool = domain(), np.arange(150)
    drawn = [set(np.concatenate([*vars(draw_shots(shop, pool, k, seed=2)).values()])) for k in (1, 5, 10, 40)]
    assert all(small <= large for small, large in pairwise(drawn))


def test_a_share_of_the_rows_keeps_the_class_balance():
    shop = domain(rows=1000)
    shown = draw_shots(shop, np.arange(1000), 0.1, seed=0)
    rows = np.concatenate([shown.train, shown.val])
    assert len(rows) == pytest.approx(100, abs=1)
    assert shop.label[rows].mean() == pytest.approx(shop.label.mean(), abs=0.01)


def test_too_few_rows_of_a_class_names_the_class_and_the_count():
    shop = domain()
    shop.label[:] = 0
    shop.label[3] = 1
    with pytest.raises(DataError, match=r"data.shots: 5 labels of class 'yes' are wanted, but 'shop' has 1"):
        draw_shots(shop, np.arange(150), 5, seed=0)
