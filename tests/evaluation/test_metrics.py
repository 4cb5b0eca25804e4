"""Metrics against hand-computed values, scikit-learn, torchmetrics and plain loops."""

import json
import math
import os
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.functional.classification import multiclass_calibration_error

from tl_research.metrics.classes import ClassRows, classification_metrics
from tl_research.metrics.numbers import regression_metrics
from tl_research.metrics.registered import higher_is_better, metric
from tl_research.registry import METRICS

#: Those of open label sets have no value here (test_open_set_metrics.py).
OF_OPEN_SETS = {"known_accuracy", "unknown_accuracy", "h_score"}
OF_CLASSES = {name for name, each in METRICS.items() if each.of == "class"} - OF_OPEN_SETS
OF_NUMBERS = {"r2", "rmse", "mae"}


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def problem(n, classes, seed=0, *, spread=2.0, decimals=None):
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(classes, (n,), generator=generator)
    logits = spread * torch.randn(n, classes, generator=generator)
    logits[torch.arange(n), label] += 1
    return (logits if decimals is None else logits.round(decimals=decimals)), label


def test_by_hand_binary():
    p1 = torch.tensor([0.9, 0.6, 0.6, 0.4, 0.2])
    label = torch.tensor([1, 0, 1, 1, 0])
    logits = torch.stack([torch.zeros(5), torch.logit(p1.double())], dim=1)
    values = classification_metrics(logits, label)
    # predicted 1 1 1 0 0
    assert values["accuracy"] == pytest.approx(3 / 5)
    assert values["balanced_accuracy"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert values["macro_f1"] == pytest.approx((2 * 1 / (2 + 2) + 2 * 2 / (3 + 3)) / 2)
    # pairs (positive, negative): .9>.6 .9>.2 .6=.6 .6>.2 .4<.6 .4>.2
    assert values["auroc"] == pytest.approx(4.5 / 6)
    # thresholds .9: P 1, R 1/3; .6: P 2/3, R 2/3; .4: P 3/4, R 1
    assert values["average_precision"] == pytest.approx(1 / 3 * (1 + 2 / 3 + 3 / 4))
    expected = -np.mean(np.log([0.9, 0.4, 0.6, 0.4, 0.8]))
    assert values["log_loss"] == pytest.approx(expected, rel=1e-6)
    # confidences .9 (right), .6 (wrong), .6 (right), .6 (wrong), .8 (right); .6 is the upper edge of a bin
    assert values["ece"] == pytest.approx((abs(1 - 0.9) + abs(1 - 3 * 0.6) + abs(1 - 0.8)) / 5, rel=1e-5)


@pytest.mark.parametrize("decimals", [None, 0])
@pytest.mark.parametrize("n", [7, 400])
def test_binary_agrees_with_sklearn(n, decimals):
    logits, label = problem(n, 2, decimals=decimals)
    values = classification_metrics(logits, label)
    p, y = torch.softmax(logits.double(), 1).numpy(), label.numpy()
    score = (logits[:, 1] - logits[:, 0]).double().numpy()
    assert set(values) == OF_CLASSES
    assert values["accuracy"] == pytest.approx(sk.accuracy_score(y, p.argmax(1)), abs=1e-12)
    assert values["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(y, p.argmax(1)), abs=1e-12)
    assert values["macro_f1"] == pytest.approx(sk.f1_score(y, p.argmax(1), average="macro"), abs=1e-12)
    assert values["auroc"] == pytest.approx(sk.roc_auc_score(y, score), abs=1e-12)
    assert values["average_precision"] == pytest.approx(sk.average_precision_score(y, score), abs=1e-12)
    assert values["log_loss"] == pytest.approx(sk.log_loss(y, p), abs=1e-12)


@pytest.mark.parametrize("classes", [3, 10])
def test_multiclass_agrees_with_sklearn(classes):
    logits, label = problem(500, classes)
    values = classification_metrics(logits, label)
    p, y = torch.softmax(logits.double(), 1).numpy(), label.numpy()
    one_hot = np.eye(classes)[y]
    assert values["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(y, p.argmax(1)), abs=1e-12)
    assert values["macro_f1"] == pytest.approx(sk.f1_score(y, p.argmax(1), average="macro"), abs=1e-12)
    assert values["auroc"] == pytest.approx(sk.roc_auc_score(y, p, multi_class="ovr", average="macro"), abs=1e-12)
    assert values["average_precision"] == pytest.approx(sk.average_precision_score(one_hot, p), abs=1e-12)
    assert values["log_loss"] == pytest.approx(sk.log_loss(y, p), abs=1e-12)


@pytest.mark.parametrize("classes", [2, 5])
def test_ece_agrees_with_torchmetrics(classes):
    logits, label = problem(600, classes, seed=3)
    reference = multiclass_calibration_error(torch.softmax(logits.double(), 1), label, classes, n_bins=15, norm="l1")
    assert classification_metrics(logits, label)["ece"] == pytest.approx(float(reference), abs=1e-6)


def test_ece_by_a_loop_over_bins():
    logits, label = problem(300, 4, seed=5)
    p = torch.softmax(logits.double(), 1).numpy()
    confidence, correct = p.max(1), p.argmax(1) == label.numpy()
    total = 0.0
    for b in range(1, 16):
        rows = [i for i in range(300) if (b - 1) / 15 < confidence[i] <= b / 15]
        if rows:
            total += len(rows) / 300 * abs(np.mean(correct[rows]) - np.mean(confidence[rows]))
    assert classification_metrics(logits, label)["ece"] == pytest.approx(total, abs=1e-12)


def test_ece_bins_hold_their_upper_edge():
    """Confidences 0.2 = 3/15, the edge, and 0.22: two bins, so that right and wrong do not cancel."""
    second = [math.log(0.22 * 4 / 0.78), 0.0, 0.0, 0.0, 0.0]
    logits = torch.tensor([[0.0] * 5, second], dtype=torch.float64)
    assert classification_metrics(logits, torch.tensor([0, 1]))["ece"] == pytest.approx((0.8 + 0.22) / 2)


def test_auroc_by_a_loop_over_pairs_with_many_ties():
    logits, label = problem(120, 2, seed=1, spread=0.7, decimals=0)
    score = (logits[:, 1] - logits[:, 0]).tolist()
    positive = [s for s, y in zip(score, label) if y == 1]
    negative = [s for s, y in zip(score, label) if y == 0]
    wins = sum((p > n) + 0.5 * (p == n) for p in positive for n in negative)
    assert len(set(score)) <= 10
    assert classification_metrics(logits, label)["auroc"] == pytest.approx(wins / (len(positive) * len(negative)))


@pytest.mark.parametrize("classes", [2, 4])
def test_order_of_rows_and_offset_of_a_row_do_not_matter(classes):
    logits, label = problem(300, classes, decimals=1)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    plain = classification_metrics(logits.double(), label)
    assert classification_metrics(logits[order], label[order]) == pytest.approx(plain, abs=1e-12)
    moved = logits.double() + torch.arange(300.0)[:, None]
    assert classification_metrics(moved, label) == pytest.approx(plain, abs=1e-9)


@pytest.mark.parametrize("classes", [2, 5])
def test_names_of_classes_do_not_matter(classes):
    logits, label = problem(200, classes)
    flipped = classification_metrics(logits.flip(1), classes - 1 - label)
    plain = classification_metrics(logits, label)
    if classes == 2:  # average precision is about class 1; AUROC is symmetric
        plain.pop("average_precision"), flipped.pop("average_precision")
    assert flipped == pytest.approx(plain, abs=1e-12)


@pytest.mark.parametrize("classes", [2, 3])
def test_perfect_classifier(classes):
    label = torch.arange(12) % classes
    values = classification_metrics(80 * torch.nn.functional.one_hot(label, classes).float(), label)
    for name in OF_CLASSES:
        assert values[name] == pytest.approx(1.0 if higher_is_better(name) else 0.0, abs=1e-12)


@pytest.mark.parametrize("classes", [2, 3])
def test_constant_classifier(classes):
    label = torch.tensor([0, 0, 0, 1, 1, 2]) % classes
    values = classification_metrics(torch.zeros(6, classes), label)
    share = (label == 0).double().mean().item()
    prevalence = torch.bincount(label).double() / 6
    assert values["accuracy"] == pytest.approx(share)
    assert values["balanced_accuracy"] == pytest.approx(1 / classes)
    assert values["macro_f1"] == pytest.approx(2 * share / (1 + share) / classes)
    assert values["auroc"] == 0.5
    assert values["average_precision"] == pytest.approx(float(prevalence[1] if classes == 2 else prevalence.mean()))
    assert values["log_loss"] == pytest.approx(math.log(classes))
    assert values["ece"] == pytest.approx(abs(share - 1 / classes))


@pytest.mark.parametrize("classes", [2, 3])
def test_ranking_survives_saturated_probabilities(classes):
    """Softmax is 1.0 in float64 beyond a gap of about 37; these rows are still ordered."""
    score = torch.tensor([40.0, 50.0, 60.0, 70.0, 80.0, 90.0])
    label = torch.tensor([0, 0, 0, 1, 1, 1])
    logits = torch.zeros(6, classes)
    logits[:, 1] = score
    values = classification_metrics(logits, label)
    assert values["auroc"] >= (1.0 if classes == 2 else 0.99)
    assert all(math.isfinite(value) for value in values.values())


def test_absent_class_is_left_out_of_macro_averages():
    logits, label = problem(300, 4, seed=2)
    keep = label != 3
    logits, label = logits[keep], label[keep]
    values = classification_metrics(logits, label)
    y, prediction = label.numpy(), logits.argmax(1).numpy()
    p = torch.softmax(logits.double(), 1).numpy()
    assert (prediction == 3).any()
    recalls = [np.mean(prediction[y == c] == c) for c in range(3)]
    assert values["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert values["macro_f1"] == pytest.approx(sk.f1_score(y, prediction, labels=[0, 1, 2], average="macro"))
    assert values["auroc"] == pytest.approx(np.mean([sk.roc_auc_score(y == c, p[:, c]) for c in range(3)]))
    expected = np.mean([sk.average_precision_score(y == c, p[:, c]) for c in range(3)])
    assert values["average_precision"] == pytest.approx(expected)


def test_metrics_without_a_value_are_absent():
    logits = torch.tensor([[0.0, 1.0], [2.0, 0.0], [0.0, 3.0]])
    of_negatives = classification_metrics(logits, torch.zeros(3, dtype=torch.long))
    assert OF_CLASSES - set(of_negatives) == {"auroc", "average_precision"}
    of_positives = classification_metrics(logits, torch.ones(3, dtype=torch.long))
    assert OF_CLASSES - set(of_positives) == {"auroc"}
    assert of_positives["average_precision"] == 1.0
    three = classification_metrics(problem(5, 3)[0], torch.full((5,), 2))
    assert OF_CLASSES - set(three) == {"auroc"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_any_float_dtype_and_a_gradient(dtype):
    logits, label = problem(50, 3)
    rounded = logits.to(dtype)
    values = classification_metrics(rounded.requires_grad_(), label.to(torch.int32))
    assert values == pytest.approx(classification_metrics(rounded.detach().double(), label), abs=1e-15)


@pytest.mark.parametrize(
    ("logits", "label", "message"),
    [
        (torch.zeros(3, 2), torch.tensor([0, -1, 1]), "1 of 3 labels are hidden"),
        (torch.zeros(2, 2), torch.tensor([0, 2]), "label: got 2, wants 0 to 1"),
        (torch.zeros(2, 2), torch.tensor([0, -3]), "label: got -3"),
        (torch.tensor([[0.0, 1.0], [0.0, math.nan]]), torch.tensor([0, 1]), "logits: nan in row 1, class 1"),
        (torch.tensor([[-math.inf, 1.0]]), torch.tensor([1]), "logits: -inf in row 0, class 0"),
        (torch.zeros(3, 1), torch.zeros(3, dtype=torch.long), "classes >= 2"),
        (torch.zeros(3), torch.zeros(3, dtype=torch.long), "classes >= 2"),
        (torch.zeros(3, 2), torch.zeros(2, dtype=torch.long), "wants 3 class indices"),
        (torch.zeros(3, 2), torch.zeros(3), "class indices"),
        (torch.zeros(0, 2), torch.zeros(0, dtype=torch.long), "no rows"),
    ],
)
def test_bad_input_is_refused(logits, label, message):
    with pytest.raises(ValueError, match=message):
        classification_metrics(logits, label)


def test_is_cheap_enough_to_call_several_times_an_epoch():
    logits, label = problem(10_000, 2)
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        classification_metrics(logits, label)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.05  # about 3 ms; the bound only catches a change of the order of growth


@pytest.mark.parametrize("seed", range(5))
def test_regression_metrics_are_those_of_scikit_learn_and_torchmetrics(seed):
    import torchmetrics.functional as tm

    rng = np.random.default_rng(seed)
    y = rng.normal(1e4, 10.0 ** rng.integers(-2, 4), 300)
    f = y + rng.normal(0, y.std() * rng.uniform(0.1, 3), 300)
    values = regression_metrics(torch.from_numpy(f), torch.from_numpy(y))
    assert set(values) == OF_NUMBERS
    assert values["r2"] == pytest.approx(sk.r2_score(y, f), rel=1e-12)
    assert values["rmse"] == pytest.approx(np.sqrt(sk.mean_squared_error(y, f)), rel=1e-12)
    assert values["mae"] == pytest.approx(sk.mean_absolute_error(y, f), rel=1e-12)
    prediction, label = torch.from_numpy(f), torch.from_numpy(y)
    assert values["r2"] == pytest.approx(tm.r2_score(prediction, label).item(), rel=1e-6, abs=1e-6)
    assert values["rmse"] == pytest.approx(tm.mean_squared_error(prediction, label, squared=False).item(), rel=1e-6)
    assert values["mae"] == pytest.approx(tm.mean_absolute_error(prediction, label).item(), rel=1e-6)


def test_regression_metrics_without_a_value_and_of_bad_rows():
    one = torch.tensor([1.0])
    assert regression_metrics(one, one) == {"rmse": 0.0, "mae": 0.0}
    assert [higher_is_better(name) for name in ("r2", "rmse", "mae")] == [True, False, False]
    with pytest.raises(ValueError, match="label: nan in row 1"):
        regression_metrics(torch.zeros(2), torch.tensor([0.0, float("nan")]))
    with pytest.raises(ValueError, match="prediction: inf in row 0"):
        regression_metrics(torch.tensor([float("inf"), 0.0]), torch.zeros(2))
    for prediction, label in ((torch.zeros(2, 1), torch.zeros(2)), (torch.zeros(0), torch.zeros(0))):
        with pytest.raises(ValueError, match="wants"):
            regression_metrics(prediction, label)


def test_the_confusion_matrix_is_that_of_a_loop():
    logits, label = problem(200, 4, decimals=0)
    rows = ClassRows.of(logits[label != 2], label[label != 2])
    expected = np.zeros((4, 4), dtype=int)
    for y, f in zip(rows.label, rows.prediction):
        expected[y, f] += 1
    np.testing.assert_array_equal(rows.confusion, expected)


PLUGIN = """
from tl_research.metrics.registered import metric

@metric("brier", better="low", of="class")
def brier(rows):
    p = rows.unnormalised / rows.total[:, None]
    p[range(len(p)), rows.label] -= 1
    return (p**2).sum(axis=1).mean()
"""


def test_a_metric_is_one_decorated_function_in_a_file_of_its_own(tmp_path):
    """It has a value in every epoch of a run, and a selection rule and a suite's table may take it."""
    plugin, out = tmp_path / "brier.py", tmp_path / "runs"
    plugin.write_text(PLUGIN)
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "name: brier\nmetric: brier\nmethods: [source_only]\ntasks: [old_market->new_market]\nseeds: 1\n"
        "common: {data: {name: simulated_market, n_source: 60, n_target: 60}, trainer: {max_epochs: 1},"
        " wandb: {mode: disabled}}\n"
    )
    command = [sys.executable, "-m", "tl_research.cli", "benchmark", str(suite), "--output", str(out)]
    environment = os.environ | {"TL_RESEARCH_PLUGINS": str(plugin), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "brier" in done.stdout
    (record,) = (json.loads(path.read_text()) for path in out.rglob("result.json"))
    assert 0 < record["metrics"]["last"]["target_test/brier"] < 2


def test_a_metric_that_cannot_be_one_is_refused():
    with pytest.raises(ValueError, match="better is 'higher', wants 'high' or 'low'"):
        metric("one", better="higher", of="class")
    with pytest.raises(ValueError, match="without '/' and '@'"):
        metric("a/b", better="high", of="class")
    with pytest.raises(ValueError, match="metric 'auroc' is registered twice"):
        metric("auroc", better="low", of="class")(lambda rows: 0.0)
    with pytest.raises(ValueError, match="metric: there is no 'aurok'; did you mean 'auroc'"):
        higher_is_better("aurok")
