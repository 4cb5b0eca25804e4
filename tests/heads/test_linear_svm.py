"""The dual and the primal of the support vector machine reach one optimum."""

import pytest
import torch

from tl_research.heads.linear import LinearSVM


def rows(overlap: float, count: int = 90):
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(count) % 3
    centre = 3 * torch.randn(3, 20, generator=generator, dtype=torch.float64)
    return centre[label] + overlap * torch.randn(count, 20, generator=generator, dtype=torch.float64), label


def objective(head: LinearSVM, x, label) -> float:
    """Of the three machines, one against the rest; liblinear penalises the intercept as well."""
    sign = 2.0 * torch.nn.functional.one_hot(label, 3) - 1
    hinge = (1 - sign * head(x)).clamp_min(0)
    return float(0.5 * (head.coefficient.square().sum() + head.intercept.square().sum()) + hinge.square().sum())


@pytest.mark.parametrize("overlap", [0.5, 6.0])
def test_both_ways_reach_one_optimum(overlap, monkeypatch):
    x, label = rows(overlap)
    found = []
    for passes in (100_000, 1):  # the dual settles; it is given up
        monkeypatch.setattr(LinearSVM, "dual_passes", passes)
        head = LinearSVM()
        head.fit(x, label, None, classes=3, seed=0)
        found.append(objective(head, x, label))
    assert found[0] == pytest.approx(found[1], rel=2e-2)


def test_long_rows_that_can_be_separated_take_the_dual(monkeypatch):
    x, label = rows(0.5)
    estimators = []
    monkeypatch.setattr(LinearSVM, "estimator", lambda self, seed: estimators.append(seed))
    head = LinearSVM()
    head.fit(100 * x, label, None, classes=3, seed=0)
    assert estimators == []
    assert (head(100 * x).argmax(dim=1) == label).all()
