"""Target rows moved to the source's mean and scale, and numbers held within the labels' range."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.portfolio.test_head import rows_of
from tl_research.alignment.base import Rows
from tl_research.portfolio import moved
from tl_research.portfolio.head import PortfolioConfig
from tl_research.portfolio.learners import make_learner
from tl_research.portfolio.moved import Moved, Shift
from tl_research.portfolio.part import Scores
from tl_research.portfolio.study import learn_source


def normal(n: int, seed: int, mean: float = 0.0, scale: float = 1.0, columns: int = 4) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(mean, scale, (n, columns))).float()


def test_many_rows_get_the_source_s_mean_and_deviation():
    source, target = normal(5000, 1, mean=3.0, scale=2.0), normal(5000, 2, mean=1.0, scale=0.5)
    shift = Shift()
    shift.fit(source, target)
    said = shift(target)
    torch.testing.assert_close(said.mean(dim=0), source.mean(dim=0), atol=0.05, rtol=0)
    torch.testing.assert_close(said.std(dim=0), source.std(dim=0), atol=0.05, rtol=0)


def test_rows_of_the_source_itself_stay_where_they_are():
    source = normal(300, 1, mean=3.0, scale=2.0)
    shift = Shift()
    shift.fit(source, source)
    torch.testing.assert_close(shift(source), source, atol=1e-5, rtol=0)


def test_half_of_the_way_where_there_are_as_many_rows_as_the_shrinkage_has():
    source = torch.tensor([[-1.0], [1.0]])
    target = torch.tensor([[6.0], [14.0]]).repeat(int(moved.SHRINK_ROWS) // 2, 1)
    shift = Shift()
    shift.fit(source, target)
    # The mean is halfway between 0 and 10, the scale halfway between 1 and 4 in logarithms.
    assert shift(torch.tensor([[5.0], [7.0]])).flatten().tolist() == pytest.approx([0.0, 1.0], abs=1e-6)


def test_a_column_without_spread_in_the_target_is_not_blown_up():
    source, target = normal(500, 1), normal(500, 2)
    target[:, 0] = 0.2
    shift = Shift()
    shift.fit(source, target)
    assert float(shift.scale[0]) <= 1 / moved.LEAST_SCALE
    assert shift(target).isfinite().all()


def test_it_undoes_another_unit_of_measurement():
    """The target's columns in other units: the source's forest is lost on them, and as good as at home once moved."""
    source, home = rows_of(2000, 1), rows_of(1500, 3)
    abroad = Rows(home.x * 0.5 + 1.0, home.label)
    config = PortfolioConfig(trees=50)
    learners = learn_source(config, "class", source, classes=2, seed=0).learners
    part = Moved(lambda name, rows, quick: make_learner(name, "class", rows), "forest", "class")
    part.fit(source, Rows(abroad.x[:400], abroad.label[:400]), abroad.x[:400, :0], classes=2, seed=0)

    def right(said: torch.Tensor) -> float:
        return float((said.argmax(dim=1) == home.label).double().mean())

    there = right(part(abroad.x, Scores.of(learners, abroad.x)))
    assert right(learners["forest"](abroad.x)) < 0.6
    assert there > right(learners["forest"](home.x)) - 0.03
    assert not part.state_dict().keys() - {"head.scale", "head.shift"}


def test_an_odd_row_gets_a_number_near_the_labels():
    random = np.random.default_rng(0)
    x = torch.from_numpy(random.normal(size=(40, 2))).float()
    y = x[:, 0] + 0.1 * torch.from_numpy(random.normal(size=40)).float()
    head = make_learner("linear", "regression", 40)
    head.fit(x, y, None, classes=1, seed=0)
    half = float(y.max() - y.min()) / 2
    far = head(torch.tensor([[1000.0, 0.0], [-1000.0, 0.0]])).flatten().tolist()
    assert far == pytest.approx([float(y.max()) + half, float(y.min()) - half], abs=1e-5)
    near = x @ head.coefficient.T + head.intercept
    torch.testing.assert_close(head(x), near)


def test_weights_of_the_pooled_booster_are_heard_though_its_bins_do_not_follow_them():
    random = np.random.default_rng(0)
    x = torch.from_numpy(random.normal(size=(400, 2))).float()
    label = torch.cat([(x[:200, 0] > 0).long(), (x[200:, 0] < 0).long()])  # the halves contradict each other
    unseen = torch.from_numpy(random.normal(size=(400, 2))).float()
    for weight, first in ((torch.tensor([1.0, 0.001]), True), (torch.tensor([0.001, 1.0]), False)):
        head = make_learner("boosting", "class", 400)
        head.fit(x, label, weight.repeat_interleave(200).double(), classes=2, seed=0)
        agrees = head(unseen).argmax(dim=1) == (unseen[:, 0] > 0).long()
        assert (float(agrees.double().mean()) > 0.8) == first
        assert (float(agrees.double().mean()) < 0.2) != first
