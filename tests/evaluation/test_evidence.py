"""What is said beside a figure."""

import numpy as np
import pytest

from tl_research.evaluation.evidence import (
    evaluated,
    evidence_of_tests,
    figure_said,
    remarks_on,
    rows_said,
)
from tl_research.metrics.intervals import class_interval, wilson


def labels(no, yes):
    return np.array([0] * no + [1] * yes)


def of(no, yes, **metrics):
    ends = class_interval("accuracy", metrics["accuracy"], [no, yes])
    facts = evaluated(labels(no, yes), ("no", "yes"), "accuracy", ends)
    return facts, remarks_on(facts, "file", metrics, "t.csv")


def test_the_line_has_rows_classes_and_interval():
    facts, _ = of(30, 20, accuracy=0.72)
    assert rows_said(facts) == "50 rows (no 30, yes 20)"
    low, high = wilson(36, 50)
    assert figure_said(facts, "file", 0.72) == f"accuracy 0.7200, 95 % interval {low:.4f} to {high:.4f}"
    assert rows_said(of(1, 0, accuracy=1.0)[0]) == "1 row (no 1, yes 0)"


@pytest.mark.parametrize(("no", "yes", "few"), [(20, 10, False), (20, 9, True), (9, 500, True), (10, 500, False)])
def test_few_rows_are_said(no, yes, few):
    said = of(no, yes, accuracy=0.9, auroc=0.9)[1]
    assert [line.startswith("few rows to measure on") for line in said] == [True] * few


def test_one_class_is_said_and_why_a_metric_is_absent():
    (line,) = of(60, 0, accuracy=1.0)[1]
    assert "every measured row of t.csv is of class 'no': AUROC has no value" in line


@pytest.mark.parametrize(
    ("auroc", "size", "backwards"), [(0.22, 100, True), (0.45, 5000, False), (0.35, 12, False), (0.9, 100, False)]
)
def test_a_ranking_that_is_clearly_backwards_is_said(auroc, size, backwards):
    said = [line for line in of(size, size, accuracy=0.5, auroc=auroc)[1] if "ranked backwards" in line]
    assert len(said) == backwards


def test_classes_worse_than_chance_are_said():
    facts = evaluated(np.arange(300) % 3, ("a", "b", "c"), "accuracy", None)
    (line,) = remarks_on(facts, "file", {"accuracy": 0.05, "balanced_accuracy": 0.05}, "t.csv")
    assert "worse than chance (0.33)" in line
    assert remarks_on(facts, "file", {"accuracy": 0.33, "balanced_accuracy": 0.33}, "t.csv") == []


def test_a_record_keeps_the_interval_of_every_rule_that_has_a_value():
    metrics = {"last": {"epoch": 3, "target_test/auroc": 0.8}, "dev": {"epoch": 1}}
    facts = evidence_of_tests(metrics, labels(30, 20), ("no", "yes"), "auroc", {3: [0.7, 0.9], 1: [0.1, 0.2]})
    assert facts["interval"] == {"last": [0.7, 0.9]}
    assert (facts["rows"], facts["classes"]) == (50, {"no": 30, "yes": 20})
    assert "classes" not in evidence_of_tests(metrics, np.arange(40.0), (), "r2", {})
