"""The logistic head against scikit-learn's solver run to convergence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tl_research.heads.linear import Logistic


def rows(count, columns, classes, *, seed=0, scales=1.0):
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(count) % classes
    centres = torch.randn(classes, columns, generator=generator, dtype=torch.float64)
    x = centres[label] * 1.5 + 2 * torch.randn(count, columns, generator=generator, dtype=torch.float64)
    return (x + 3) * scales, label


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(
    ("count", "columns", "penalty"),
    [(300, 10, 1.0), (300, 10, 1e-2), (40, 120, 1.0), (120, 119, 10.0)],
    ids=["tall", "hardly penalised", "wide", "square"],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_it_has_the_optimum_of_scikit_learn(classes, count, columns, penalty, weighted):
    scales = torch.logspace(-1, 1, columns, dtype=torch.float64)  # the penalty is on columns as they come
    x, label = rows(count, columns, classes, scales=scales)
    weight = torch.rand(count, generator=torch.Generator().manual_seed(1), dtype=torch.float64) if weighted else None
    head = Logistic(penalty=penalty)
    head.fit(x, label, weight, classes=classes, seed=0)
    oracle = LogisticRegression(C=1 / penalty, tol=1e-12, max_iter=100_000, solver="newton-cg")
    oracle.fit(x.numpy(), label.numpy(), sample_weight=None if weight is None else weight.numpy())
    probability = head(x).softmax(dim=1).numpy()
    assert np.abs(probability - oracle.predict_proba(x.numpy())).max() < 1e-4
    coefficient = head.coefficient if classes > 2 else head.coefficient[1:] - head.coefficient[:1]
    assert np.abs(coefficient.numpy() - oracle.coef_).max() < 1e-2 * np.abs(oracle.coef_).max()


def test_rows_of_weight_zero_have_no_part():
    x, label = rows(200, 6, 3)
    weight = (torch.arange(200) < 120).double()
    head, fewer = Logistic(penalty=1.0), Logistic(penalty=1.0)
    head.fit(x, label, weight, classes=3, seed=0)
    fewer.fit(x[:120], label[:120], None, classes=3, seed=0)
    torch.testing.assert_close(head(x), fewer(x), atol=1e-4, rtol=1e-4)


def test_a_class_without_rows_is_never_predicted():
    x, label = rows(90, 5, 3)
    kept = label != 1
    head = Logistic(penalty=1.0)
    head.fit(x[kept], label[kept], None, classes=3, seed=0)
    logits = head(x)
    assert bool(logits.isfinite().all())
    assert 1 not in logits.argmax(dim=1)


def test_a_constant_column_and_a_repeated_one_are_no_trouble():
    x, label = rows(80, 4, 3)
    x = torch.cat([x, torch.full((80, 1), 7.0, dtype=torch.float64), x[:, :1]], dim=1)
    head = Logistic(penalty=1.0)
    head.fit(x, label, None, classes=3, seed=0)
    torch.testing.assert_close(head.coefficient[:, 0], head.coefficient[:, 5], atol=1e-6, rtol=1e-5)
    assert float(head.coefficient[:, 4].abs().max()) < 1e-8
