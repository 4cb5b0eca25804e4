"""Metrics of open label sets against a loop over rows, and where they have no value."""

import pytest
import torch

from tl_research.metrics.classes import classification_metrics

OPEN = ("known_accuracy", "unknown_accuracy", "h_score")


def of(prediction: list[int], label: list[int], classes: int = 4) -> dict[str, float]:
    logits = torch.nn.functional.one_hot(torch.tensor(prediction), classes).double()
    return classification_metrics(logits, torch.tensor(label), has_unknown=True)


def test_figures_equal_a_loop_over_rows():
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(4, (120,), generator=generator).tolist()
    prediction = [c if torch.rand((), generator=generator) < 0.6 else (c + 1) % 4 for c in label]
    right, rows = [0] * 4, [0] * 4
    for c, guess in zip(label, prediction, strict=True):
        rows[c] += 1
        right[c] += c == guess
    known = sum(right[c] / rows[c] for c in range(3)) / 3
    unknown = right[3] / rows[3]
    found = of(prediction, label)
    assert found["known_accuracy"] == pytest.approx(known, rel=1e-12)
    assert found["unknown_accuracy"] == pytest.approx(unknown, rel=1e-12)
    assert found["h_score"] == pytest.approx(2 * known * unknown / (known + unknown), rel=1e-12)
    assert found["balanced_accuracy"] == pytest.approx((3 * known + unknown) / 4, rel=1e-12)  # OS


def test_who_calls_everything_known_or_everything_unknown_has_0():
    label = [0, 1, 2, 3, 3]
    assert of([0, 1, 2, 0, 1], label)["h_score"] == 0
    assert of([3] * 5, label)["h_score"] == 0
    assert of([1, 2, 0, 0, 0], label)["h_score"] == 0  # both are 0
    assert of(label, label)["h_score"] == 1


def test_a_known_class_without_rows_is_left_out_of_the_mean():
    assert of([0, 1, 3], [0, 0, 3])["known_accuracy"] == 0.5


def test_no_value_without_rows_of_both_kinds_or_without_the_class():
    assert {"unknown_accuracy", "h_score"}.isdisjoint(of([0, 1], [0, 1]))
    assert of([0, 1], [0, 1])["known_accuracy"] == 1
    assert {"known_accuracy", "h_score"}.isdisjoint(of([3, 1], [3, 3]))
    assert of([3, 1], [3, 3])["unknown_accuracy"] == 0.5
    closed = classification_metrics(torch.eye(3, dtype=torch.float64), torch.arange(3))
    assert set(OPEN).isdisjoint(closed)
