"""TrAdaBoost against rounds computed by hand, a second implementation, and pooling."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.tree import DecisionTreeClassifier

from tl_research.errors import ConfigError, DataError
from tl_research.heads.linear import Logistic
from tl_research.heads.tradaboost import TrAdaBoost, TrAdaBoostR2
from tl_research.heads.tree import Tree
from tl_research.heads.voting import HeadEstimator


class BestColumn(BaseEstimator):
    """Predicts by the column whose values have the least weighted absolute error: rounds can be written down."""

    def fit(self, x, y, sample_weight):
        self.weight_ = sample_weight
        self.column_ = int((sample_weight[:, None] * np.abs(x - y[:, None])).sum(axis=0).argmin())
        return self

    def predict(self, x):
        return x[:, self.column_]


# Two source rows, four target rows. Column 0 errs on source row 0 and target row 0, column 1 on source row 1 and
# target rows 1 and 2.
SOURCE, SOURCE_LABEL = np.array([[1, 0], [1, 0]]), np.array([0, 1])
TARGET, TARGET_LABEL = np.array([[0, 1], [1, 0], [0, 1], [1, 1]]), np.array([1, 1, 0, 1])
BETA = 1 / (1 + math.sqrt(math.log(2)))  # 1 / (1 + sqrt(2 ln 2 / 2))


#: What the method may lose to pooling where the domains agree: it hears the few target rows louder than it should.
AUROC_LOST, LOSS_LOST = {Tree: 0.1, Logistic: 0.03}, {Tree: 0.2, Logistic: 0.06}


def shares(*weights: float) -> np.ndarray:
    return np.array(weights) / sum(weights)


def test_two_rounds_by_hand():
    model = TrAdaBoost(BestColumn(), rounds=2).fit(SOURCE, SOURCE_LABEL, TARGET, TARGET_LABEL)
    assert model.beta_ == pytest.approx(BETA)
    assert [fitted.column_ for fitted in model.estimators_] == [0, 1]
    # Round 1: eps = 1/4, beta_1 = 1/3. Round 2: eps = (1 + 1) / (3 + 1 + 1 + 1) = 1/3, beta_2 = 1/2.
    np.testing.assert_allclose(model.errors_, [1 / 4, 1 / 3])
    np.testing.assert_allclose(model.betas_, [1 / 3, 1 / 2])
    weights = np.concatenate([model.source_weights_, model.target_weights_], axis=1)
    np.testing.assert_allclose(weights[0], shares(1, 1, 1, 1, 1, 1))
    np.testing.assert_allclose(weights[1], shares(BETA, 1, 3, 1, 1, 1))
    np.testing.assert_allclose(weights[2], shares(BETA, BETA, 3, 2, 2, 1))
    # The estimators count in rows: their weights have mean 1.
    np.testing.assert_allclose(model.estimators_[1].weight_, 6 * shares(BETA, 1, 3, 1, 1, 1))
    # Rounds ceil(2/2) = 1 and 2 vote with ln 3 and ln 2.
    probability = model.predict_proba(np.array([[1, 0], [0, 1], [1, 1], [0, 0]]))
    first = math.log(3) / math.log(6)
    np.testing.assert_allclose(probability[:, 1], [first, 1 - first, 1, 0])
    np.testing.assert_array_equal(model.predict(np.array([[1, 0], [0, 1], [1, 1], [0, 0]])), [1, 0, 1, 0])


@pytest.mark.parametrize(("rounds", "first"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (10, 5)])
def test_only_the_last_half_of_the_rounds_votes(rounds, first):
    random = np.random.default_rng(0)
    x = random.standard_normal((60, 3))
    y = (x[:, 0] + 0.5 * random.standard_normal(60) > 0).astype(int)
    model = TrAdaBoost(rounds=rounds).fit(x[:40], y[:40], x[40:], y[40:])
    assert len(model.estimators_) == rounds
    voters = model.estimators_[first - 1 :]
    voice = -np.log(model.betas_[first - 1 :])
    votes = sum(v * fitted.predict_proba(x)[:, 1] for v, fitted in zip(voice, voters))
    # The paper's rule: prod beta_t^-h_t >= prod beta_t^-1/2.
    clear = np.abs(votes - voice.sum() / 2) > 1e-9
    np.testing.assert_array_equal(model.predict(x)[clear], (votes >= voice.sum() / 2).astype(int)[clear])


def test_a_tied_vote_goes_to_the_second_class():
    model = TrAdaBoost(BestColumn(), rounds=2).fit(SOURCE, SOURCE_LABEL, TARGET, TARGET_LABEL)
    model.betas_ = np.array([0.5, 0.5])
    np.testing.assert_array_equal(model.predict(np.array([[1, 0], [0, 1]])), [1, 1])


def test_an_error_of_zero_divides_by_nothing():
    x = np.array([[0.0], [1.0]] * 10)
    y = np.array([0, 1] * 10)
    with np.errstate(all="raise"):
        model = TrAdaBoost(BestColumn(), rounds=4).fit(x, 1 - y, np.tile(x, (5, 1)), np.tile(y, 5))
        np.testing.assert_array_equal(model.predict(x), y)
    assert model.errors_.max() == 0
    np.testing.assert_allclose(model.betas_, 0.005 / 0.995)  # half of one of 100 rows
    # The source rows, which all err, go on losing their weight: by beta a round.
    total = model.source_weights_.sum(axis=1) / model.target_weights_.sum(axis=1)
    np.testing.assert_allclose(total[1:] / total[:-1], model.beta_)


def test_a_round_at_chance_has_no_voice_and_raises_the_target():
    # The only column is right on every source row and on no target row.
    source, target = np.array([[0], [1]] * 20), np.array([[0], [1]])
    with np.errstate(all="raise"):
        model = TrAdaBoost(BestColumn(), rounds=3).fit(source, source[:, 0], target, 1 - target[:, 0])
        np.testing.assert_allclose(model.errors_, 1)
        np.testing.assert_allclose(model.betas_, 1)
        # No source row is unlearned for what it got right; every target row gains 1 / beta on it.
        assert np.ptp(model.source_weights_, axis=1).max() < 1e-15
        ratio = model.target_weights_[:, 0] / model.source_weights_[:, 0]
        np.testing.assert_allclose(ratio, model.beta_ ** -np.arange(4.0))
    # None of three rounds has a voice: none of them votes.
    assert model._voters()[0] == [model.alone_]
    np.testing.assert_allclose(model.alone_.weight_, [1, 1])


def test_a_round_at_chance_is_left_behind():
    # Of two columns the first follows the source, until the target weighs enough: the second is right on the target.
    source, target = np.array([[0, 1], [1, 0]] * 3), np.array([[0, 1], [1, 0]])
    label = source[:, 0] ^ [1, 0, 0, 0, 0, 0]
    model = TrAdaBoost(BestColumn(), rounds=30).fit(source, label, target, target[:, 1])
    columns = [fitted.column_ for fitted in model.estimators_]
    assert columns[0] == 0
    assert model.errors_[0] == 1
    assert columns[5:] == [1] * 25
    assert model.errors_[5:].max() == 0
    np.testing.assert_array_equal(model.predict(target), target[:, 1])
    # Column 1 is right on one source row, which contradicts the others: it alone keeps its weight.
    assert model.source_weights_[-1][1:].max() < 0.1 * model.source_weights_[-1][0]


def test_a_round_at_chance_may_be_the_last():
    source, target = np.array([[0, 1], [1, 0]] * 3), np.array([[0, 1], [1, 0]])
    model = TrAdaBoost(BestColumn(), rounds=30, at_chance="stop").fit(source, source[:, 0], target, target[:, 1])
    assert len(model.estimators_) == 1
    assert model.alone_.column_ == 1
    np.testing.assert_array_equal(model.predict(target), target[:, 1])
    # Target rows of one class: the estimator has nothing to tell apart in them.
    one = TrAdaBoost(LogisticRegression(), rounds=3, at_chance="stop").fit(
        np.tile(source, (9, 1)), np.tile(source[:, 0], 9), target[:1], 1 - target[:1, 0]
    )
    assert one.alone_ is one.estimators_[0]
    assert np.isfinite(one.predict_proba(target)).all()


def test_rounds_without_a_voice_are_not_counted_and_never_vote():
    model = TrAdaBoost(BestColumn(), rounds=2).fit(SOURCE, SOURCE_LABEL, TARGET, TARGET_LABEL)
    first, second = model.estimators_
    silent = BestColumn()
    model.estimators_ = [silent, first, silent, second, silent, silent]
    model.betas_ = np.array([1, 1 / 2, 1, 1 / 8, 1, 1])
    np.testing.assert_allclose(model.predict_proba(np.array([[1, 0], [0, 1]]))[:, 1], [1 / 4, 3 / 4])


def oracle(base, xs, ys, xt, yt, rounds, *, classes=2, domains=False, stop=False):
    """The paper's rounds with probabilities, written again: errors, weights (rounds + 1, n + m), voices, and scores."""
    n, m, x, y = len(xs), len(xt), np.vstack([xs, xt]), np.append(ys, yt)
    w = np.ones(n + m) if not domains else np.append(np.full(n, 1 / n), np.full(m, 1 / m))
    w, beta = w / w.sum(), 1 / (1 + (2 * np.log(n) / rounds) ** 0.5)
    models, voices, errors, weights = [], [], [], [w]
    for _ in range(rounds):
        model = clone(base).fit(x, y, sample_weight=w * (n + m))
        e = np.array([1 - p[c] for p, c in zip(model.predict_proba(x), y)])
        eps = (w * e)[n:].sum() / w[n:].sum()
        errors.append(eps)
        if eps < 1 - 1 / classes:
            voices.append(np.log((1 - max(eps, 0.5 / m)) / max(eps, 0.5 / m)) + np.log(classes - 1))
            w = np.append(w[:n] * np.exp(np.log(beta) * e[:n]), w[n:] * np.exp(voices[-1] * e[n:]))
            models.append(model)
        else:
            w = w if stop else np.append(w[:n], w[n:] / beta)
        w = w / w.sum()
        weights.append(w)
        if stop and len(models) < len(errors):
            break
    half = (len(models) - 1) // 2
    return (
        errors,
        np.array(weights),
        voices,
        lambda z: np.average([model.predict_proba(z) for model in models[half:]], axis=0, weights=voices[half:]),
    )


def flipped_region(random, n, *, wrong, noise=0.0, m=None):
    """A rule of two columns; `wrong`: rows with x_2 > 0, about half of all, have the other label."""
    x = random.standard_normal((n, 5))
    label = (x[:, 0] + 0.5 * x[:, 1] > 0) ^ (wrong & (x[:, 2] > 0))
    return x, (label ^ (random.random(n) < noise)).astype(int)


@pytest.mark.parametrize("options", [{}, {"first_weights": "domains"}, {"at_chance": "stop"}])
@pytest.mark.parametrize(
    "base", [DecisionTreeClassifier(max_depth=3, random_state=0), LogisticRegression(tol=1e-8, max_iter=1000)]
)
@pytest.mark.parametrize(("m", "opposed"), [(20, 0.9), (80, 0.0)])
def test_rounds_equal_a_second_implementation(base, options, m, opposed):
    random = np.random.default_rng(3)
    source, target = flipped_region(random, 400, wrong=False), flipped_region(random, m, wrong=False, noise=0.05)
    source = source[0], np.where(random.random(400) < opposed, 1 - source[1], source[1])
    model = TrAdaBoost(base, rounds=12, **options).fit(*source, *target)
    errors, weights, voices, score = oracle(
        base, *source, *target, 12, domains=options == {"first_weights": "domains"}, stop="at_chance" in options
    )
    if opposed and not options:
        assert 0 < len(voices) < 12  # some rounds at chance, and left behind
    np.testing.assert_allclose(model.errors_, errors, rtol=1e-10)
    found = np.concatenate([model.source_weights_, model.target_weights_], axis=1)
    np.testing.assert_allclose(found, weights, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(-np.log(model.betas_[model.betas_ < 1]), voices, rtol=1e-10)
    if voices:
        np.testing.assert_allclose(model.predict_proba(source[0]), score(source[0]), atol=1e-10)


def test_three_classes_equal_a_second_implementation():
    random = np.random.default_rng(0)
    x = random.standard_normal((330, 4))
    label = np.digitize(x[:, 0] + 0.3 * random.standard_normal(330), [-0.5, 0.5])
    source, target, base = (x[:300], (label[:300] + (x[:300, 1] > 0)) % 3), (x[300:], label[300:]), LogisticRegression()
    model = TrAdaBoost(base, rounds=8).fit(*source, *target)
    errors, _, voices, score = oracle(base, *source, *target, 8, classes=3)
    assert max(errors) > 0.5  # worse than a half is better than chance
    np.testing.assert_allclose(model.errors_, errors, rtol=1e-10)
    np.testing.assert_allclose(-np.log(model.betas_), voices, rtol=1e-10)
    np.testing.assert_allclose(model.predict_proba(x), score(x), atol=1e-10)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
@pytest.mark.parametrize("estimator", [None, LogisticRegression()])
def test_source_rows_that_contradict_the_target_end_with_less_weight(estimator, seed):
    random = np.random.default_rng(seed)
    source, target = flipped_region(random, 2000, wrong=True), flipped_region(random, 100, wrong=False)
    model = TrAdaBoost(estimator, rounds=20 if estimator is None else 10).fit(*source, *target)
    wrong = source[0][:, 2] > 0
    last = model.source_weights_[-1]
    assert last[wrong].mean() < 0.5 * last[~wrong].mean()


@pytest.mark.parametrize(("make", "rounds"), [(Tree, 20), (Logistic, 10)])
def test_against_pooling_at_twenty_source_rows_a_target_row(make, rounds):
    """With a tenth of all labels wrong: near pooling's where the domains agree, far above where half is wrong."""

    def differences(wrong: bool, seed: int) -> list[float]:
        random = np.random.default_rng(seed)
        source = flipped_region(random, 2000, wrong=wrong, noise=0.1)
        target, test = (flipped_region(random, n, wrong=False, noise=0.1) for n in (100, 4000))
        base = HeadEstimator(make, 2, 0, torch.device("cpu"))
        model = TrAdaBoost(base, rounds=rounds).fit(*source, *target)
        pooled = clone(base).fit(*(np.concatenate(pair) for pair in zip(source, target)))
        mine, theirs = (fitted.predict_proba(test[0])[:, 1] for fitted in (model, pooled))
        return [measure(test[1], mine) - measure(test[1], theirs) for measure in (roc_auc_score, log_loss)]

    auroc, loss = np.mean([differences(False, seed) for seed in range(3)], axis=0)
    assert auroc > -AUROC_LOST[make]
    assert loss < LOSS_LOST[make]
    auroc, loss = np.mean([differences(True, seed) for seed in range(3)], axis=0)
    assert auroc > 0.1
    assert loss < -0.1


def moved_rule(random, n, cut):
    x = random.uniform(-1, 1, (n, 4))
    return x, np.where(x[:, 0] > cut, "buys", "leaves")


@pytest.mark.parametrize(
    "estimator", [HistGradientBoostingClassifier(max_iter=20, max_leaf_nodes=6), LogisticRegression()]
)
def test_few_target_labels_and_a_misleading_source(estimator):
    random = np.random.default_rng(0)
    source, target, test = moved_rule(random, 150, -0.3), moved_rule(random, 60, 0.4), moved_rule(random, 2000, 0.4)
    model = TrAdaBoost(estimator, rounds=20).fit(*source, *target)
    plain = clone(model._base()).fit(np.concatenate([source[0], target[0]]), np.concatenate([source[1], target[1]]))
    accuracy = (model.predict(test[0]) == test[1]).mean()
    assert accuracy > (plain.predict(test[0]) == test[1]).mean() + 0.15
    assert accuracy > 0.85
    probability = model.predict_proba(test[0])
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    # Source rows between the two cuts, which contradict the target, end with less weight than the others.
    between = (source[0][:, 0] > -0.3) & (source[0][:, 0] < 0.4)
    assert model.source_weights_[-1][between].mean() < 0.7 * model.source_weights_[-1][~between].mean()


def test_regression_rounds_by_hand():
    # Differences of column 0: source 0, 4; target 2, 0, 0 (D = 4). Of column 1: source 4, 4; target 0, 4, 4.
    source, source_label = np.array([[1.0, 5], [4, 4]]), np.array([1.0, 8])
    target, target_label = np.array([[2.0, 4], [1, 5], [2, 6]]), np.array([4.0, 1, 2])
    model = TrAdaBoostR2(BestColumn(), rounds=1).fit(source, source_label, target, target_label)
    beta = 1 / (1 + math.sqrt(2 * math.log(2)))
    # e = (0, 1 | 1/2, 0, 0), eps = 1/6, beta_1 = 1/5: target row 0 is multiplied by 5^(1/2).
    np.testing.assert_allclose(model.errors_, [1 / 6])
    weights = np.concatenate([model.source_weights_[1], model.target_weights_[1]])
    np.testing.assert_allclose(weights, shares(1, beta, math.sqrt(5), 1, 1))


def test_regression_predicts_the_weighted_median():
    class Constant:
        def __init__(self, value):
            self.value = value

        def predict(self, x):
            return np.full(len(x), self.value)

    model = TrAdaBoostR2()
    model.estimators_ = [Constant(v) for v in (99.0, 3.0, 1.0, 2.0)]
    model.betas_ = np.exp([-9.0, -1.0, -1.5, -1.0])  # rounds 2 to 4: 3 with 1, 1 with 1.5, 2 with 1
    assert model.predict(np.zeros((2, 1))).tolist() == [2.0, 2.0]
    model.betas_ = np.exp([-9.0, -1.0, -2.5, -1.0])
    assert model.predict(np.zeros((1, 1))).tolist() == [1.0]


def test_regression_with_boosted_trees_beats_the_union():
    random = np.random.default_rng(0)
    source, target, test = (random.uniform(-1, 1, (n, 3)) for n in (600, 40, 1000))
    half = source[:, 1] > 0  # where the source obeys another law
    source_label = np.where(half, -4 * source[:, 0], 3 * source[:, 0])
    base = HistGradientBoostingRegressor(max_iter=30, max_leaf_nodes=8, min_samples_leaf=5)
    model = TrAdaBoostR2(base, rounds=20).fit(source, source_label, target, 3 * target[:, 0])
    plain = clone(base).fit(np.concatenate([source, target]), np.concatenate([source_label, 3 * target[:, 0]]))

    def squared_error(fitted):
        return ((fitted.predict(test) - 3 * test[:, 0]) ** 2).mean()

    assert squared_error(model) < 0.5 * squared_error(plain)


def test_perfect_regression_divides_by_nothing():
    x = np.arange(6.0)[:, None]
    with np.errstate(all="raise"):
        model = TrAdaBoostR2(BestColumn(), rounds=3).fit(x, x[:, 0], x, x[:, 0])
        np.testing.assert_allclose(model.predict(x), x[:, 0])


def test_bad_input_is_refused():
    x, y = np.zeros((4, 2)), np.array([0, 1, 0, 1])
    with pytest.raises(ConfigError, match="rounds: got 0"):
        TrAdaBoost(rounds=0).fit(x, y, x, y)
    with pytest.raises(DataError, match=r"wants \(n, d\) and \(m, d\)"):
        TrAdaBoost().fit(x, y, x[:, :1], y)
    with pytest.raises(DataError, match=r"target has 4 row\(s\) and labels of shape \(3,\)"):
        TrAdaBoost().fit(x, y, x, y[:3])
    with pytest.raises(DataError, match="every row has the label 1"):
        TrAdaBoost().fit(x, y * 0 + 1, x, y * 0 + 1)


def test_the_registered_regression_method_is_the_function_of_arrays():
    """Same rounds and same predictions as `TrAdaBoostR2` over scikit-learn's ridge regression."""
    from sklearn.linear_model import Ridge

    from tests.contracts.problem import data_of, method_config
    from tl_research.methods.build import build_method

    config = method_config("tradaboost_r2", "unused", "data.n_source=200", "method.base=ridge", "method.rounds=7")
    data = data_of(config, frozenset(("source", "target", "target_labeled")))
    source, labeled = data.sides["source"], data.sides["target_labeled"]
    module = build_method(config, data.spec, data.outcome)
    module.prepare(source, data.sides["target"], labeled)
    model = TrAdaBoostR2(Ridge(alpha=1.0), 7)
    sides = (source.inputs, source.label, labeled.inputs, labeled.label)
    model.fit(*(part.double().numpy() for part in sides))
    test = data.release_evaluation()["target_test"].inputs
    np.testing.assert_allclose(module(test)[1][:, 0].numpy(), model.predict(test.double().numpy()), atol=1e-4)
    np.testing.assert_allclose(module.facts["tradaboost_r2"]["target_error"], model.errors_, atol=1e-4)
    again = build_method(config, data.spec, data.outcome)
    again.load_state_dict(module.state_dict())
    assert len(again.head.heads) == 4
    assert np.array_equal(again(test)[1].numpy(), module(test)[1].numpy())


def test_regression_leaves_a_source_of_another_level_behind():
    """A source that is wrong by the same amount everywhere: every target row has the largest error, eps = 1."""
    random = np.random.default_rng(0)
    source, target = random.uniform(-1, 1, (400, 2)), random.uniform(-1, 1, (20, 2))
    model = TrAdaBoostR2(rounds=20).fit(source, source[:, 0], target, target[:, 0] + 10)
    assert model.errors_[0] > 0.8
    assert 0 < (model.betas_ < 1).sum() < 20
    assert np.abs(model.predict(target) - target[:, 0] - 10).max() < 1
    stopped = TrAdaBoostR2(rounds=20, at_chance="stop").fit(source, source[:, 0], target, target[:, 0] + 10)
    assert len(stopped.errors_) == 1
    assert np.abs(stopped.predict(target) - target[:, 0] - 10).max() < 1
