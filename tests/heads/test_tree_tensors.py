"""Trees as tensors: both ways down the trees reach the leaves that scikit-learn reaches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.tree import DecisionTreeRegressor

from tl_research.heads import tree_tensors
from tl_research.heads.tree_tensors import TreeNodes, from_scikit_learn, leaf_values, pack


@pytest.fixture(scope="module")
def fitted():
    random = np.random.default_rng(0)
    x = random.normal(size=(700, 5))
    x[random.random(x.shape) < 0.1] = np.nan
    y = np.where(np.isnan(x[:, 0]), 2.0, x[:, 0]) * (1 + np.nan_to_num(x[:, 1])) + random.normal(size=700)
    model = HistGradientBoostingRegressor(max_iter=12, min_samples_leaf=3).fit(x, y)
    return model, from_scikit_learn([tree.nodes for round_ in model._predictors for tree in round_]), x


def test_many_rows_reach_the_library_s_leaves(fitted):
    model, trees, x = fitted
    assert len(x) >= tree_tensors.MANY_ROWS
    said = leaf_values(trees, torch.from_numpy(x)).sum(dim=1) + float(model._baseline_prediction.item())
    np.testing.assert_allclose(said.numpy(), model.predict(x), rtol=1e-12)


@pytest.mark.parametrize("missing", [True, False])
def test_few_and_many_rows_have_the_same_values(fitted, missing, monkeypatch):
    _, trees, x = fitted
    rows = torch.from_numpy(x if missing else np.nan_to_num(x))
    by_tree = leaf_values(trees, rows)
    monkeypatch.setattr(tree_tensors, "MANY_ROWS", len(x) + 1)
    assert torch.equal(by_tree, leaf_values(trees, rows))
    monkeypatch.setattr(tree_tensors, "MANY_ROWS", 1)
    monkeypatch.setattr(tree_tensors, "CHUNK_PAIRS", 12 * 100)  # in parts of 100 rows
    assert torch.equal(by_tree, leaf_values(trees, rows))


def test_a_tree_without_a_split_says_its_value_beside_deep_ones():
    random = np.random.default_rng(1)
    x = random.normal(size=(400, 2)).astype(np.float32)
    deep = DecisionTreeRegressor(random_state=0).fit(x, x[:, 0] * x[:, 1]).tree_
    one, no_child = np.array([7.0]), np.array([-1])
    stump = TreeNodes(np.array([-2]), np.array([-2.0]), np.array([False]), no_child, no_child, one, np.array([True]))
    grown = TreeNodes(
        feature=deep.feature,
        threshold=deep.threshold,
        missing_left=deep.missing_go_to_left.astype(bool),
        left=deep.children_left,
        right=deep.children_right,
        value=deep.value[:, 0, 0],
        is_leaf=deep.children_left < 0,
    )
    said = leaf_values(pack([stump, grown]), torch.from_numpy(x))
    assert (said[:, 0] == 7.0).all()
    np.testing.assert_allclose(said[:, 1].numpy(), deep.predict(x)[:, 0])


def test_no_rows_have_no_values(fitted):
    _, trees, _ = fitted
    assert leaf_values(trees, torch.zeros(0, 5)).shape == (0, 12)
