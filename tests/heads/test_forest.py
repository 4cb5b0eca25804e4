"""Random forests as heads against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from tests.heads.test_tree import rows_of
from tl_research.errors import ConfigError
from tl_research.heads.forest import SHARED, Forest, ForestConfig, ForestRegression


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("weighted", [True, False])
def test_its_probabilities_are_scikit_learns(classes, weighted):
    x, label, weight = rows_of(0, classes=classes)
    weight = weight if weighted else None
    head = Forest(trees=20, min_rows=3, leaves=40)
    head.fit(x, label, weight, classes=classes, seed=5)
    peer = RandomForestClassifier(20, min_samples_leaf=3, max_leaf_nodes=40, random_state=5)
    peer.fit(x.numpy(), label.numpy(), sample_weight=weight)
    unseen = rows_of(1)[0]
    wanted = (1 - SHARED) * peer.predict_proba(unseen.numpy()) + SHARED / classes
    np.testing.assert_allclose(head(unseen.double()).softmax(dim=1).numpy(), wanted, atol=1e-12)
    assert head(unseen[:0]).shape == (0, classes)
    again = Forest()
    again.load_state_dict(head.state_dict())
    assert torch.equal(again(unseen), head(unseen))


def test_its_numbers_are_scikit_learns():
    x, label, weight = rows_of(0)
    y = x[:, 0] * 3 + label
    head = ForestRegression(trees=20, min_rows=3, leaves=40)
    head.fit(x, y, weight, classes=1, seed=5)
    peer = RandomForestRegressor(20, min_samples_leaf=3, max_leaf_nodes=40, max_features=1 / 3, random_state=5)
    peer.fit(x.numpy(), y.numpy(), sample_weight=weight)
    unseen = rows_of(1)[0]
    np.testing.assert_allclose(head(unseen.double())[:, 0].numpy(), peer.predict(unseen.numpy()), atol=1e-12)


def test_a_missing_value_has_a_side():
    x, label, _ = rows_of(0, classes=2)
    x[label == 1, 0] = torch.nan
    head = Forest(trees=30)
    head.fit(x, label, None, classes=2, seed=0)
    assert (head(x).argmax(dim=1) == label).all()


def test_classes_without_rows_or_without_weight_are_not_predicted():
    x, label, weight = rows_of(0)
    head = Forest(trees=5)
    head.fit(x, label, weight * (label != 1), classes=4, seed=0)
    logits = head(x)
    assert logits.isfinite().all()
    assert logits.softmax(dim=1)[:, [1, 3]].max() < 1e-20
    head.fit(x[label == 2], label[label == 2], None, classes=4, seed=0)
    assert (head(x).argmax(dim=1) == 2).all()


@pytest.mark.parametrize(("key", "value"), [("trees", 0), ("min_rows", 0), ("leaves", 1)])
def test_options_out_of_range_are_named(key, value):
    with pytest.raises(ConfigError, match=f"^{key}: got {value}"):
        ForestConfig(**{key: value})


def test_rows_bounds_what_a_tree_is_grown_on():
    x, label, _ = rows_of(0, classes=2)
    unseen, some = rows_of(1)[0], len(x) // 4
    head = Forest(trees=20, rows=some)
    head.fit(x, label, None, classes=2, seed=5)
    peer = RandomForestClassifier(20, min_samples_leaf=2, max_leaf_nodes=1024, max_samples=some, random_state=5)
    wanted = (1 - SHARED) * peer.fit(x.numpy(), label.numpy()).predict_proba(unseen.numpy()) + SHARED / 2
    np.testing.assert_allclose(head(unseen.double()).softmax(dim=1).numpy(), wanted, atol=1e-12)
    whole, beyond = Forest(trees=20), Forest(trees=20, rows=10 * len(x))
    for one in (whole, beyond):
        one.fit(x, label, None, classes=2, seed=5)
    assert torch.equal(whole(unseen), beyond(unseen))
    with pytest.raises(ConfigError, match=r"^rows: got 0"):
        ForestConfig(rows=0)
