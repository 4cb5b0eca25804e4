"""A single tree as a head against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.tree import DecisionTreeClassifier

from tl_research.errors import ConfigError
from tl_research.heads.tree import Tree


def rows_of(seed: int, n: int = 300, classes: int = 3):
    random = np.random.default_rng(seed)
    x = random.standard_normal((n, 5)).astype(np.float32)
    label = np.digitize(x[:, 0] + 0.5 * random.standard_normal(n), np.linspace(-0.7, 0.7, classes - 1))
    return torch.from_numpy(x), torch.from_numpy(label), torch.from_numpy(random.gamma(1.0, size=n))


@pytest.mark.parametrize("classes", [2, 3])
def test_without_smoothing_it_is_scikit_learns(classes):
    x, label, weight = rows_of(0, classes=classes)
    head = Tree(depth=4, smoothing=0)
    head.fit(x, label, weight, classes=classes, seed=0)
    tree = DecisionTreeClassifier(max_depth=4, random_state=0).fit(x.numpy(), label.numpy(), sample_weight=weight)
    unseen = rows_of(1)[0]
    found = head(unseen).double().softmax(dim=1).numpy()
    np.testing.assert_allclose(found, tree.predict_proba(unseen.numpy()), atol=1e-6)
    again = Tree(depth=4)
    again.load_state_dict(head.state_dict())
    assert torch.equal(again(unseen), head(unseen))


def test_a_leaf_is_given_rows_of_the_classes_shares():
    x, label = torch.tensor([[0.0], [0.0], [1.0], [1.0]]), torch.tensor([0, 0, 1, 1])
    head = Tree(depth=1, smoothing=2.0)
    head.fit(x, label, torch.tensor([1.0, 2.0, 1.0, 2.0]).double(), classes=2, seed=0)
    # (3 + 2 · 1/2) / (3 + 2) in the leaf of its own class
    np.testing.assert_allclose(head(x[:1]).softmax(dim=1).numpy(), [[0.8, 0.2]], rtol=1e-6)


def test_a_missing_value_has_a_side():
    x, label, _ = rows_of(0, classes=2)
    x[label == 1, 0] = torch.nan
    head = Tree(depth=2)
    head.fit(x, label, None, classes=2, seed=0)
    assert (head(x).argmax(dim=1) == label).all()


def test_classes_without_rows_or_without_weight_are_not_predicted():
    x, label, weight = rows_of(0)
    head = Tree(smoothing=5)
    head.fit(x, label, weight * (label != 1), classes=4, seed=0)
    logits = head(x)
    assert logits.isfinite().all()
    assert logits.softmax(dim=1)[:, [1, 3]].max() < 1e-20
    head.fit(x[label == 2], label[label == 2], None, classes=4, seed=0)
    assert (head(x).argmax(dim=1) == 2).all()


@pytest.mark.parametrize("options", [{"depth": 0}, {"smoothing": -1.0}, {"smoothing": float("nan")}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=rf"^{next(iter(options))}: got"):
        Tree(**options)
