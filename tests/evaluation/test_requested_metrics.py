"""Metrics that are asked for by name: against loops over orders, scikit-learn, torchmetrics and values by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torchmetrics.functional.retrieval as tm
from sklearn import metrics as sk

from tl_research.errors import ConfigError
from tl_research.metrics.classes import ClassRows
from tl_research.metrics.groups import grouped_auroc
from tl_research.metrics.probabilities import equal_size, equal_width
from tl_research.metrics.registered import values_of
from tl_research.metrics.requested import check_metric, find_metric, measured
from tl_research.metrics.top import lift_curve
from tl_research.metrics.value import Payoff, best_threshold, value_at
from tl_research.outcomes import ClassOutcome, NumberOutcome


def drawn(n: int, classes: int = 2, seed: int = 0, decimals: int | None = None) -> ClassRows:
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(classes, (n,), generator=generator)
    logits = 2 * torch.randn(n, classes, generator=generator, dtype=torch.float64)
    logits[torch.arange(n), label] += 1
    return ClassRows.of(logits if decimals is None else logits.round(decimals=decimals), label)


def scored(score: list[float], label: list[int]) -> ClassRows:
    second = torch.tensor(score, dtype=torch.float64)
    return ClassRows.of(torch.stack([torch.zeros_like(second), second], dim=1), torch.tensor(label))


def of(name: str, rows: ClassRows, classes: tuple[str, ...] = ()) -> float | None:
    return find_metric(name, classes=classes).function(rows)


# The top


@pytest.mark.parametrize("top", [1, 2, 3, 4, 5, 6, 7])
def test_ties_are_the_mean_over_all_orders_of_equal_scores(top):
    score, label = [3.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0], [0, 1, 0, 1, 1, 0, 1]
    hits = []
    for order in itertools.permutations(range(7)):
        ranked = [score[row] for row in order]
        if ranked == sorted(ranked, reverse=True):
            hits.append(sum(label[row] for row in order[:top]))
    rows = scored(score, label)
    assert of(f"precision_at_{top}", rows) == pytest.approx(np.mean(hits) / top)
    assert of(f"recall_at_{top}", rows) == pytest.approx(np.mean(hits) / 4)
    assert of(f"lift_at_{top}", rows) == pytest.approx(np.mean(hits) / top / (4 / 7))


@pytest.mark.parametrize("top", [1, 10, 77, 300])
def test_without_ties_the_top_is_that_of_torchmetrics(top):
    rows = drawn(300)
    # It counts no row with a score of 0 or less, so it gets probabilities.
    score, label = torch.from_numpy(rows.probability[:, 1]), torch.from_numpy(rows.label)
    precision, recall = tm.retrieval_precision(score, label, top_k=top), tm.retrieval_recall(score, label, top_k=top)
    assert of(f"precision_at_{top}", rows) == pytest.approx(float(precision), abs=1e-6)
    assert of(f"recall_at_{top}", rows) == pytest.approx(float(recall), abs=1e-6)


def test_a_share_of_the_rows_is_rounded_up():
    rows = drawn(33)
    assert of("precision_at_10%", rows) == of("precision_at_4", rows)
    assert of("recall_at_0.1%", rows) == of("recall_at_1", rows)
    # 7 % of 100 is 7, though 0.07 * 100 is more in floating point.
    assert of("precision_at_7%", drawn(100)) == of("precision_at_7", drawn(100))
    assert of("precision_at_100%", rows) == pytest.approx(rows.label.mean())
    assert (of("recall_at_100%", rows), of("lift_at_100%", rows)) == (1.0, pytest.approx(1.0))


def test_the_top_of_too_few_rows_or_without_a_positive():
    rows, negatives = drawn(20), scored([1.0, 2.0, 3.0], [0, 0, 0])
    for name in ("precision_at_21", "recall_at_21", "lift_at_21"):
        assert of(name, rows) is None
    assert of("precision_at_2", negatives) == 0
    assert (of("recall_at_2", negatives), of("lift_at_2", negatives), lift_curve(negatives)) == (None, None, None)


def test_scores_that_say_nothing_have_the_base_rate_and_lift_one():
    rows = scored([0.5] * 10, [1, 0, 0, 0, 0, 1, 0, 0, 0, 0])
    assert of("precision_at_3", rows) == pytest.approx(0.2)
    assert of("lift_at_3", rows) == pytest.approx(1.0)
    assert of("recall_at_3", rows) == pytest.approx(0.3)
    np.testing.assert_allclose(lift_curve(rows).lift, 1.0)


def test_the_lift_curve_by_a_loop_over_deciles():
    rows = drawn(237)
    curve, order = lift_curve(rows), np.argsort(rows.logits[:, 0] - rows.logits[:, 1])
    hit, begin = rows.label[order], 0
    for part in range(10):
        end = int(np.ceil(237 * (part + 1) / 10))
        assert curve.rows[part] == end
        assert curve.lift[part] == pytest.approx(hit[begin:end].mean() / hit.mean())
        assert curve.captured[part] == pytest.approx(hit[:end].sum() / hit.sum())
        assert curve.cumulative[part] == pytest.approx(of(f"lift_at_{10 * (part + 1)}%", rows))
        begin = end
    few = lift_curve(scored([3.0, 2.0, 1.0], [1, 0, 0]))
    assert np.isnan(few.lift).sum() == 7
    assert few.captured.tolist() == [1.0] * 10


# Probabilities


def test_brier_is_that_of_scikit_learn():
    rows = drawn(300)
    assert of("brier", rows) == pytest.approx(sk.brier_score_loss(rows.label, rows.probability[:, 1]), abs=1e-12)
    several = drawn(300, 4)
    one_hot = np.eye(4)[several.label]
    assert of("brier", several) == pytest.approx(((several.probability - one_hot) ** 2).sum(axis=1).mean(), abs=1e-12)
    assert of("brier", several) == pytest.approx(sk.brier_score_loss(several.label, several.probability), abs=1e-12)


def test_adaptive_ece_by_a_loop_over_bins():
    rows = drawn(303)
    p, order = rows.probability[:, 1], np.argsort(rows.probability[:, 1])
    place = np.arange(303) * 15 // 303
    wanted = sum(abs((rows.label - p)[order[place == b]].sum()) for b in range(15)) / 303
    assert of("adaptive_ece", rows) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("bins", [equal_width, equal_size])
def test_right_probabilities_have_no_error_but_chance_and_wrong_ones_theirs(bins):
    random = np.random.default_rng(0)
    p = random.uniform(size=400_000)
    happened = random.random(400_000) < p
    assert bins(p, happened).error < 0.004
    # Everywhere 0.1 too high: each bin says so.
    assert bins(0.1 + 0.9 * p, random.random(400_000) < 0.9 * p).error == pytest.approx(0.1, abs=0.004)


def test_equal_probabilities_are_in_one_bin():
    found = equal_size(np.full(100, 0.3), np.arange(100) < 20)
    assert (found.rows.tolist(), found.error) == ([100], pytest.approx(0.1))
    found = equal_width(np.array([0.0, 1.0, 1.0]), np.array([True, True, False]))
    assert (found.rows.tolist(), found.error) == ([1, 2], pytest.approx((1 + 2 * 0.5) / 3))


def test_adaptive_ece_of_several_classes_is_the_mean_over_them_and_does_not_know_their_order():
    rows = drawn(200, 3)
    one = [equal_size(rows.probability[:, c], rows.label == c).error for c in range(3)]
    assert of("adaptive_ece", rows) == pytest.approx(np.mean(one))
    two = drawn(200)
    flipped = ClassRows.of(torch.from_numpy(two.logits[:, ::-1].copy()), torch.from_numpy(1 - two.label))
    assert of("adaptive_ece", two) == pytest.approx(of("adaptive_ece", flipped), abs=0.02)


# Order and weights


@pytest.mark.parametrize("classes", [2, 5, 9])
def test_ordinal_metrics_are_those_of_scikit_learn(classes):
    rows = drawn(200, classes)
    kappa = sk.cohen_kappa_score(rows.label, rows.prediction, weights="quadratic")
    assert of("quadratic_kappa", rows) == pytest.approx(kappa, abs=1e-12)
    assert of("ordinal_mae", rows) == pytest.approx(sk.mean_absolute_error(rows.label, rows.prediction), abs=1e-12)
    f1 = sk.f1_score(rows.label, rows.prediction, average="weighted")
    assert of("weighted_f1", rows) == pytest.approx(f1, abs=1e-12)


def test_a_class_that_no_row_has_changes_no_ordinal_metric():
    three = drawn(100, 3)
    logits = np.insert(three.logits, 3, -50.0, axis=1)
    four = ClassRows.of(torch.from_numpy(logits), torch.from_numpy(three.label))
    for name in ("quadratic_kappa", "ordinal_mae", "weighted_f1"):
        assert of(name, four) == pytest.approx(of(name, three))


def test_kappa_of_one_class_alone_has_no_value_and_of_a_constant_prediction_is_zero():
    same = ClassRows.of(torch.tensor([[0.0, 9.0, 0.0]] * 4), torch.tensor([1, 1, 1, 1]))
    assert of("quadratic_kappa", same) is None
    constant = ClassRows.of(torch.tensor([[0.0, 9.0, 0.0]] * 4), torch.tensor([0, 1, 2, 2]))
    assert of("quadratic_kappa", constant) == pytest.approx(0.0)


def test_weighted_accuracy():
    rows = drawn(300, 3)
    names = ("a", "b", "c")
    weight = np.array([1.0, 5.0, 0.0])
    wanted = sk.accuracy_score(rows.label, rows.prediction, sample_weight=weight[rows.label])
    assert of("weighted_accuracy:b=5,c=0", rows, names) == pytest.approx(wanted, abs=1e-12)
    assert of("weighted_accuracy:a=1", rows, names) == pytest.approx(of("accuracy", rows))
    inverse = ",".join(f"{name}={1 / (rows.label == c).sum()}" for c, name in enumerate(names))
    assert of(f"weighted_accuracy:{inverse}", rows, names) == pytest.approx(of("balanced_accuracy", rows))
    alone = ClassRows.of(torch.zeros(2, 3), torch.tensor([2, 2]))
    assert of("weighted_accuracy:c=0", alone, names) is None
    with pytest.raises(ValueError, match="0 names of classes"):
        of("weighted_accuracy:a=1", rows)


# Groups


@pytest.mark.parametrize("decimals", [None, 0])
def test_gauc_by_a_loop_over_groups(decimals):
    random = np.random.default_rng(0)
    group = random.choice(["u1", "u2", "u3", "u4", "only", "none"], 200, p=[0.4, 0.2, 0.15, 0.1, 0.1, 0.05])
    score = random.normal(size=200)
    score = score if decimals is None else score.round(decimals)
    label = np.where(group == "only", 1, np.where(group == "none", 0, random.integers(0, 2, 200)))
    parts = [
        (sk.roc_auc_score(label[group == g], score[group == g]), (group == g).sum()) for g in ("u1", "u2", "u3", "u4")
    ]
    found = grouped_auroc(score, label, group)
    assert found.value == pytest.approx(np.average([v for v, _ in parts], weights=[n for _, n in parts]), abs=1e-12)
    assert (found.groups, found.groups_left_out) == (4, 2)
    assert found.rows_left_out == np.isin(group, ["only", "none"]).sum()
    assert found.rows + found.rows_left_out == 200


def test_gauc_is_blind_to_what_differs_between_groups_and_one_group_is_auroc():
    random = np.random.default_rng(1)
    group, label = np.repeat(np.arange(20), 30), random.integers(0, 2, 600)
    score = label + random.normal(size=600)
    moved = score + 1e6 * group
    assert grouped_auroc(moved, label, group).value == pytest.approx(grouped_auroc(score, label, group).value)
    alone = grouped_auroc(score, label, np.zeros(600))
    assert alone.value == pytest.approx(sk.roc_auc_score(label, score), abs=1e-12)
    assert grouped_auroc(score, np.ones(600), group).value is None


def test_gauc_as_a_metric_wants_groups():
    plain = drawn(100)
    group = np.arange(100) % 7
    rows = ClassRows.of(torch.from_numpy(plain.logits), torch.from_numpy(plain.label), group)
    wanted = grouped_auroc(plain.logits[:, 1] - plain.logits[:, 0], plain.label, group).value
    assert of("gauc", rows) == wanted
    with pytest.raises(ValueError, match="gauc: wants the group"):
        of("gauc", plain)
    with pytest.raises(ValueError, match=r"group: got \(3,\), wants one group for each of 100 rows"):
        ClassRows.of(torch.from_numpy(plain.logits), torch.from_numpy(plain.label), group[:3])


# Value


def test_value_by_hand():
    p, label = np.array([0.9, 0.6, 0.4, 0.1]), np.array([1, 0, 1, 0])
    payoff = Payoff(tp=20, fp=-1, fn=-5, tn=0.5)
    assert value_at(p, label, payoff, 0.5) == pytest.approx((20 - 1 - 5 + 0.5) / 4)
    assert value_at(p, label, payoff, 0.6) == value_at(p, label, payoff, 0.5)  # from the threshold on
    assert value_at(p, label, payoff, 0.0) == pytest.approx((40 - 2) / 4)
    assert payoff.threshold == pytest.approx(1.5 / (1.5 + 25))


@pytest.mark.parametrize("seed", range(8))
def test_the_best_threshold_is_that_of_a_search_over_all(seed):
    random = np.random.default_rng(seed)
    p, label = random.uniform(size=60).round(1 if seed % 2 else 6), random.integers(0, 2, 60)
    payoff = Payoff(tp=3.0, fp=-1.0)
    best = best_threshold(p, label, payoff)
    every = max(value_at(p, label, payoff, t) for t in [0.0, *p, 1.1])
    assert value_at(p, label, payoff, best) == pytest.approx(every)


def test_of_right_probabilities_no_threshold_is_worth_more_than_that_of_the_payoff():
    random = np.random.default_rng(0)
    p = random.uniform(size=200_000)
    label, payoff = random.random(200_000) < p, Payoff(tp=20, fp=-5)
    assert payoff.threshold == 0.2
    assert best_threshold(p, label, payoff) == pytest.approx(0.2, abs=0.02)
    assert value_at(p, label, payoff, 0.2) == pytest.approx(
        value_at(p, label, payoff, best_threshold(p, label, payoff)), abs=0.01
    )


def test_where_acting_never_pays_one_does_not_act():
    p, label = np.array([0.2, 0.9]), np.array([0, 0])
    assert best_threshold(p, label, Payoff(tp=1, fp=-1)) > 0.9
    assert best_threshold(p, 1 - label, Payoff(tp=1, fp=-1)) <= 0.2


def test_value_as_a_metric_acts_from_the_payoff_s_threshold_or_a_given_one():
    rows = drawn(200)
    p = rows.probability[:, 1]
    payoff = Payoff(tp=20, fp=-1)
    assert of("value:tp=20,fp=-1", rows) == value_at(p, rows.label, payoff, 1 / 21)
    assert of("value: tp=20, fp=-1, threshold=0.5", rows) == value_at(p, rows.label, payoff, 0.5)


# Names


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("precision_at_0", "--metric: 'precision_at_0': got '0', wants a number of rows .* as in 'precision_at_100'"),
        ("precision_at_x", "got 'x', wants a number of rows"),
        ("recall_at_120%", "got '120%', wants .* up to 100%"),
        ("lift_at_0%", "got '0%', wants"),
        ("lift_at_-5%", "got '-5%', wants"),
        ("lift_at_1/0%", "got '1/0%', wants"),
        ("precision_at_0.05", "got '0.05', wants a number of rows"),
        ("precision_at", "there is no 'precision_at'; did you mean 'precision_at_100'"),
        ("auroq", "there is no 'auroq'; did you mean 'auroc'"),
        ("value:", "got '', wants NAME=NUMBER"),
        ("value:tp", "got 'tp', wants NAME=NUMBER"),
        ("value:tp=inf,fp=-1", "got 'tp=inf', wants NAME=NUMBER"),
        ("value:tp=1,tp=2", "got 'tp' twice"),
        ("value:gain=1", "got 'gain', wants some of tp, fp, fn and tn"),
        ("value:tp=1", "got tn=0 and fp=0, wants tn above fp"),
        ("value:fp=-1,fn=3", "got tp=0 and fn=3, wants tp above fn"),
        ("value:tp=1,fp=-1,threshold=2", "got threshold=2, wants a probability"),
        ("weighted_accuracy:maybe=2", "got 'maybe', wants one of the classes no, yes"),
        ("weighted_accuracy:yes=-2", "got yes=-2, wants a weight of 0 or more"),
    ],
)
def test_a_name_that_is_none_is_one_clear_error(name, message):
    with pytest.raises(ConfigError, match=message):
        find_metric(name, classes=("no", "yes"))


def test_a_metric_that_can_have_no_value_is_refused_before_anything_is_measured():
    with pytest.raises(ConfigError, match=r"'precision_at_100' wants 100 rows, and 60 test; .*precision_at_5%"):
        check_metric(find_metric("precision_at_100"), classes=2, rows=60)
    with pytest.raises(ConfigError, match="'recall_at_5%' speaks of the second of two classes, and the label has 5"):
        check_metric(find_metric("recall_at_5%"), classes=5, rows=60)
    with pytest.raises(ConfigError, match="'gauc' wants the group of each row; name its column with --group"):
        check_metric(find_metric("gauc"), classes=2, rows=60)
    check_metric(find_metric("gauc"), classes=2, rows=60, has_group=True)
    check_metric(find_metric("quadratic_kappa"), classes=5, rows=3)


def test_registered_metrics_are_found_and_requested_ones_are_in_no_record():
    assert find_metric("auroc").higher_is_better
    assert not find_metric("brier").higher_is_better
    assert find_metric("r2").of == "regression"
    measured = values_of("class", drawn(100))
    assert "brier" not in measured
    assert "auroc" in measured


def test_an_outcome_gives_the_rows_that_requested_metrics_take():
    rows = drawn(60)
    logits, label, group = torch.from_numpy(rows.logits), torch.from_numpy(rows.label), np.arange(60) % 5
    metrics = [find_metric(name) for name in ("brier", "gauc", "precision_at_10", "precision_at_61")]
    found = measured(metrics, ClassOutcome(("no", "yes")).rows_of(logits, label, group))
    assert list(found) == ["brier", "gauc", "precision_at_10"]
    assert found["brier"] == find_metric("brier").function(rows)
    numbers = NumberOutcome(10.0, 2.0).rows_of(torch.tensor([[0.5], [0.0]]), torch.tensor([11.0, 12.0]))
    assert measured([find_metric("mae")], numbers) == {"mae": 1.0}
