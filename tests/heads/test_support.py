"""A class is there for a head where its rows weigh something."""

import math

import numpy as np
import pytest
import torch

from tl_research.errors import DataError
from tl_research.heads.boosting import TransferBoosting
from tl_research.heads.build import fitted_heads, make_head
from tl_research.heads.centre import NearestCentre
from tl_research.heads.linear import Ridge
from tl_research.heads.support import support
from tl_research.heads.tree_libraries import LIBRARIES
from tl_research.heads.warm_start import WarmStartLogistic


def made(name: str, of: str = "class"):
    return make_head(name, neighbours=1, penalty=1.0, of=of)


WEIGHTED_HEADS = [name for name in fitted_heads() if made(name).takes_weights]
HEADS = {name: (lambda name=name: made(name)) for name in WEIGHTED_HEADS} | {"centre": NearestCentre}


def clusters(seed: int = 0, rows: int = 60):
    """Three clusters, at the corners of a triangle."""
    generator = torch.Generator().manual_seed(seed)
    x = [torch.randn(rows, 2, generator=generator) / 2 + torch.tensor(c) for c in ((-4.0, 0.0), (0.0, 4.0), (4.0, 0.0))]
    return torch.cat(x), torch.arange(3).repeat_interleave(rows)


@pytest.mark.parametrize("tiny", [0.0, 1e-300, 1e-20])
@pytest.mark.parametrize("absent", [0, 1, 2])
@pytest.mark.parametrize("name", HEADS)
def test_a_class_that_weighs_nothing_is_a_class_without_rows(name, absent, tiny):
    x, y = clusters()
    weight = torch.ones(len(x), dtype=torch.float64)
    weight[y == absent] = tiny
    weighed, without = HEADS[name](), HEADS[name]()
    weighed.fit(x, y, weight, classes=3, seed=0)
    there = y != absent
    without.fit(x[there], y[there], weight[there], classes=3, seed=0)
    assert torch.equal(weighed(x), without(x))
    assert (weighed(x).argmax(dim=1)[there] == y[there]).all()
    assert not (weighed(x).argmax(dim=1) == absent).any()
    assert weighed(x).isfinite().all()


@pytest.mark.parametrize("name", HEADS)
def test_one_class_that_weighs_is_predicted_everywhere(name):
    x, y = clusters()
    for only in range(3):
        head = HEADS[name]()
        head.fit(x, y, (y == only).double(), classes=3, seed=0)
        assert (head(x).argmax(dim=1) == only).all()
        assert head(x).isfinite().all()


@pytest.mark.parametrize("name", HEADS)
def test_a_row_of_weight_0_in_a_class_that_weighs_stays_one(name):
    x, y = clusters()
    weight = torch.ones(len(x), dtype=torch.float64)
    weight[::2] = 0
    head = HEADS[name]()
    head.fit(x, y, weight, classes=3, seed=0)
    assert (head(x).argmax(dim=1) == y).float().mean() > 0.95


BAD = {
    "the weight of row 3 is -1": (3, -1.0),
    "the weight of row 4 is nan": (4, math.nan),
    "the weight of row 5 is inf": (5, math.inf),
    "every one of the 180 rows has the weight 0": (slice(None), 0.0),
}


@pytest.mark.parametrize(("message", "wrong"), BAD.items())
@pytest.mark.parametrize("name", [*HEADS, "boosting_transfer", "warm_start", "regression ridge", "regression boosting"])
def test_weights_that_are_none_are_refused_by_one_message(name, message, wrong):
    x, y = clusters()
    weight = torch.ones(len(x))
    weight[wrong[0]] = wrong[1]
    few = x[:3], y[:3]
    fits = {
        "boosting_transfer": lambda: TransferBoosting(iterations=2).fit_transfer(x, y, weight, *few, classes=3, seed=0),
        "warm_start": lambda: WarmStartLogistic().fit_transfer(x, y, weight, *few, classes=3, seed=0),
    }
    for of in ("ridge", "boosting"):
        fits[f"regression {of}"] = lambda of=of: made(of, "regression").fit(x, y.double(), weight, classes=1, seed=0)
    fit = fits.get(name, lambda: HEADS[name]().fit(x, y, weight, classes=3, seed=0))
    with pytest.raises(ValueError, match=message):
        fit()


@pytest.mark.parametrize("of", ["class", "regression"])
def test_a_head_without_weights_refuses_them(of):
    assert "nearest_neighbours" in fitted_heads("regression")
    x, y = clusters()
    with pytest.raises(DataError, match="takes no weights"):
        made("nearest_neighbours", of).fit(x, y, torch.ones(len(x)), classes=3, seed=0)


@pytest.mark.parametrize("library", ["scikit-learn", *LIBRARIES])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_two_stages_of_boosting(library, share):
    """The target's rows may give the first stage a class; without them the class is absent, or refused by name."""
    if library != "scikit-learn":
        pytest.importorskip(library)
    x, y = clusters()
    weight = (y != 1).double()

    def head():
        return TransferBoosting(library=library, iterations=20, target_iterations=10, target_share=share, min_rows=2)

    other = head()
    other.fit_transfer(x, y, weight, x[y != 1][::4], y[y != 1][::4], classes=3, seed=0)
    assert not (other(x).argmax(dim=1) == 1).any()
    assert (other(x).argmax(dim=1) == y)[y != 1].float().mean() > 0.95
    known = head()
    if share:
        known.fit_transfer(x, y, weight, x[::4], y[::4], classes=3, seed=0)
        assert (known(x).argmax(dim=1) == y).float().mean() > 0.9
    else:
        with pytest.raises(DataError, match="class 1 has target labels but no source row that weighs anything"):
            known.fit_transfer(x, y, weight, x[::4], y[::4], classes=3, seed=0)


def test_warm_start_names_the_class_whose_source_rows_weigh_nothing():
    x, y = clusters()
    head = WarmStartLogistic()
    head.fit_transfer(x, y, (y != 1).double(), x[y != 1][::4], y[y != 1][::4], classes=3, seed=0)
    assert not (head(x).argmax(dim=1) == 1).any()
    with pytest.raises(DataError, match="class 1 has target labels but no source row that weighs anything"):
        head.fit_transfer(x, y, (y != 1).double(), x[::4], y[::4], classes=3, seed=0)


@pytest.mark.parametrize("weighted", [False, True])
def test_ridge_of_two_classes_is_least_squares_to_minus_one_and_one(weighted):
    """scikit-learn 1.9 has its one margin as a vector."""
    x, y = clusters()
    x, y = x[:120].double(), y[:120]
    weight = torch.rand(120, generator=torch.Generator().manual_seed(1)).double() if weighted else None
    head = Ridge(penalty=2.0)
    head.fit(x, y, weight, classes=2, seed=0)
    w = np.ones(120) if weight is None else weight.numpy()
    design = np.column_stack([x.numpy(), np.ones(120)])
    left = design.T @ (w[:, None] * design) + np.diag([2.0, 2.0, 0.0])
    found = np.linalg.solve(left, design.T @ (w * np.where(y.numpy() == 1, 1.0, -1.0)))
    np.testing.assert_allclose((head(x)[:, 1] - head(x)[:, 0]).numpy(), design @ found, rtol=1e-8)


def test_support_says_what_is_kept():
    y = torch.tensor([0, 2, 2, 3])
    all_there = support(y, None, 5)
    assert all_there.present.tolist() == [0, 2, 3]
    assert all_there.kept is None
    assert all_there.label.tolist() == [0, 1, 1, 2]
    some = support(y, torch.tensor([1.0, 0.0, 0.0, 2.0]), 5)
    assert (some.present.tolist(), some.label.tolist()) == ([0, 3], [0, 1])
    assert (some.kept.tolist(), some.weight.tolist()) == ([True, False, False, True], [1.0, 2.0])
    # What is nothing is told by the other weights, not by the unit of weights.
    for unit in (1e-200, 1.0, 1e200):
        weight = unit * torch.tensor([1.0, 1e-9, 0.0, 1e-17], dtype=torch.float64)
        assert support(y, weight, 5).present.tolist() == [0, 2]
    with pytest.raises(DataError, match="none"):
        support(y[:0], None, 5)
    with pytest.raises(DataError, match="wants 0 to 2"):
        support(y, None, 3)
    with pytest.raises(DataError, match="shape"):
        support(y, torch.ones(3), 5)
