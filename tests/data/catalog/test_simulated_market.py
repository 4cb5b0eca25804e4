import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import ks_2samp

from tl_research.data.catalog import simulated_market
from tl_research.data.catalog.simulated_market import (
    SimulatedMarketConfig,
    bayes_accuracy,
    bayes_score,
    density_ratio,
    load,
    log_density,
    purchase_rate,
)
from tl_research.errors import ConfigError

MANY = 40_000
SHIFTS = {
    "covariate_shift": {"covariate_shift": 0.8},
    "label_shift": {"label_shift": 1.2},
    "concept_shift": {"concept_shift": 0.9},
    "measurement_shift": {"measurement_shift": 0.7},
    "all": {"covariate_shift": -0.5, "label_shift": -0.8, "concept_shift": 0.5, "measurement_shift": 0.4},
}


def config(**knobs):
    none = {"covariate_shift": 0.0, "label_shift": 0.0, "concept_shift": 0.0, "measurement_shift": 0.0}
    return SimulatedMarketConfig(**{"n_source": MANY, "n_target": MANY, "features": 6, "noise": 0.5, **none, **knobs})


def markets(settings):
    domains = load(settings, ["old_market", "new_market"])
    return domains["old_market"], domains["new_market"]


def test_without_shift_the_markets_have_one_law():
    old, new = markets(config())
    assert not np.array_equal(old.inputs, new.inputs), "the rows are drawn apart"
    for column in range(6):
        assert ks_2samp(old.inputs[:, column], new.inputs[:, column]).pvalue > 1e-3
    np.testing.assert_allclose(density_ratio(config(), old.inputs), 1.0)


@pytest.mark.parametrize("knobs", SHIFTS.values(), ids=SHIFTS)
def test_the_score_is_calibrated_on_drawn_rows(knobs):
    """Rows whose Bayes score is near s buy with frequency s, in every domain."""
    settings = config(**knobs)
    for name, domain in load(settings, ["old_market", "third_market", "new_market"]).items():
        score = bayes_score(settings, domain.inputs, name)
        bins = np.minimum((score * 10).astype(int), 9)
        for b in range(10):
            inside = bins == b
            if inside.sum() > 200:
                error = 4 * 0.5 / np.sqrt(inside.sum())
                assert abs(domain.label[inside].mean() - score[inside].mean()) < error, (name, b)
        assert abs(domain.label.mean() - purchase_rate(settings, name)) < 4 * 0.5 / np.sqrt(MANY)
        accuracy = ((score > 0.5) == domain.label).mean()
        assert abs(accuracy - bayes_accuracy(settings, name)) < 4 * 0.5 / np.sqrt(MANY)


@pytest.mark.parametrize("knobs", SHIFTS.values(), ids=SHIFTS)
def test_the_density_ratio_carries_means_from_the_old_market_to_the_new(knobs):
    """E_old[r(x) f(x)] = E_new[f(x)] for f = 1, and for moments of every column."""
    settings = config(**knobs)
    old, new = markets(settings)
    ratio = density_ratio(settings, old.inputs)

    def functions(x):
        bounded = np.tanh(x)
        return np.column_stack([np.ones(len(x)), bounded, bounded[:, :3] ** 2, bounded[:, :1] * bounded[:, 1:2]])

    left, right = functions(old.inputs) * ratio[:, None], functions(new.inputs)
    error = np.sqrt(left.var(0) / MANY + right.var(0) / MANY)
    assert (np.abs(left.mean(0) - right.mean(0)) < 5 * error + 1e-9).all()


@pytest.mark.parametrize("domain", ["old_market", "third_market", "new_market"])
def test_the_density_integrates_to_one(domain):
    """Importance sampling from a wide Gaussian: unlike the ratio, this sees the determinant of the recording."""
    settings = config(**SHIFTS["all"], n_source=10)
    random = np.random.default_rng(1)
    wide = 1.7
    x = random.normal(0.0, wide, size=(200_000, 6))
    log_wide = -0.5 * (x**2).sum(1) / wide**2 - 6 * np.log(wide) - 3 * np.log(2 * np.pi)
    weight = np.exp(log_density(settings, x, domain) - log_wide)
    assert abs(weight.mean() - 1) < 5 * weight.std() / np.sqrt(len(x))


def test_covariate_shift_changes_only_the_inputs():
    settings = config(**SHIFTS["covariate_shift"])
    x = markets(settings)[1].inputs
    np.testing.assert_allclose(bayes_score(settings, x, "new_market"), bayes_score(settings, x, "old_market"))
    # the closed form of two Gaussians that differ in one mean
    np.testing.assert_allclose(density_ratio(settings, x), np.exp(0.8 * x[:, 2] - 0.8**2 / 2), rtol=1e-6)


def test_concept_shift_changes_only_the_score():
    settings = config(**SHIFTS["concept_shift"])
    x = markets(settings)[1].inputs
    np.testing.assert_allclose(density_ratio(settings, x), 1.0)
    moved = np.abs(bayes_score(settings, x, "new_market") - bayes_score(settings, x, "old_market"))
    assert moved.mean() > 0.1
    assert purchase_rate(settings, "new_market") == pytest.approx(purchase_rate(settings, "old_market"))


def test_label_shift_changes_only_how_often_each_class_occurs():
    settings = config(**SHIFTS["label_shift"])
    old, new = markets(settings)
    rates = [purchase_rate(settings, name) for name in ("old_market", "new_market")]
    assert logit(rates[1]) - logit(rates[0]) == pytest.approx(1.2)
    for value in (0, 1):  # p(x | y) is kept, in every column and along the score
        ours, theirs = old.inputs[old.label == value], new.inputs[new.label == value]
        for column in range(6):
            assert ks_2samp(ours[:, column], theirs[:, column]).pvalue > 1e-3
        scores = [bayes_score(settings, part, "old_market") for part in (ours, theirs)]
        assert ks_2samp(*scores).pvalue > 1e-3
    # p_T(x) / p_S(x) = sum over y of P_S(y | x) pi_T(y) / pi_S(y)
    score = bayes_score(settings, old.inputs, "old_market")
    expected = score * rates[1] / rates[0] + (1 - score) * (1 - rates[1]) / (1 - rates[0])
    np.testing.assert_allclose(density_ratio(settings, old.inputs), expected)


def test_measurement_shift_is_another_record_of_the_same_visits():
    plain, measured = config(data_seed=3), config(data_seed=3, measurement_shift=0.7)
    before, after = markets(plain)[1], markets(measured)[1]
    np.testing.assert_array_equal(before.label, after.label)
    changed = [1, 5]
    expected = before.inputs.copy()
    expected[:, changed] = expected[:, changed] * np.exp(0.3 * 0.7) + 2.0 * 0.7
    np.testing.assert_allclose(after.inputs, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        bayes_score(measured, after.inputs, "new_market"),
        bayes_score(plain, before.inputs, "new_market"),
        atol=1e-4,
    )


def test_a_knob_leaves_the_rows_of_the_old_market_alone():
    old, _ = markets(config())
    for knobs in SHIFTS.values():
        np.testing.assert_array_equal(old.inputs, markets(config(**knobs))[0].inputs)


def test_the_score_keeps_its_digits_far_out():
    settings = config(noise=0.05, label_shift=3.0)
    x = np.zeros((2, 6))
    x[:, 0] = [30, -30]
    score = bayes_score(settings, x, "new_market")
    assert np.isfinite(score).all()
    assert score[0] > 0.999
    assert score[1] < 1e-3


def test_rows_depend_on_the_data_seed_alone():
    one = load(SimulatedMarketConfig(), ["new_market"])["new_market"]
    same = load(SimulatedMarketConfig(batch_size=7), ["new_market", "old_market"])["new_market"]
    other = load(SimulatedMarketConfig(data_seed=1), ["new_market"])["new_market"]
    np.testing.assert_array_equal(one.inputs, same.inputs)
    np.testing.assert_array_equal(one.label, same.label)
    assert not np.array_equal(one.inputs, other.inputs)
    assert one.inputs.shape == (2000, 10)
    assert one.inputs.dtype == np.float32


def test_rows_of_sources_and_target_are_counted_apart():
    settings = config(n_source=30, n_target=50)
    assert [len(d) for d in load(settings, ["old_market", "third_market", "new_market"]).values()] == [30, 30, 50]


def fitted(x, y):
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    network = MLPClassifier((32,), max_iter=40, alpha=0.01, random_state=0)
    return make_pipeline(StandardScaler(), network).fit(x, y)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_by_default_the_source_classifier_loses_and_alignment_without_labels_recovers():
    settings = SimulatedMarketConfig(n_target=4000)
    old, new = markets(settings)
    seen, unseen = slice(0, 2000), slice(2000, None)
    x, y = new.inputs[unseen], new.label[unseen]
    network = fitted(old.inputs, old.label)
    source_only = network.score(x, y)
    oracle = fitted(new.inputs[seen], new.label[seen]).score(x, y)
    aligned = (x - new.inputs[seen].mean(0)) / new.inputs[seen].std(0) * old.inputs.std(0) + old.inputs.mean(0)
    without_the_shifted = fitted(old.inputs[:, [0, 2, 3]], old.label).score(x[:, [0, 2, 3]], y)
    assert oracle > source_only + 0.15
    assert network.score(aligned, y) > oracle - 0.03
    assert without_the_shifted > source_only + 0.1, "a shared encoder can do without what shifts"
    assert oracle <= bayes_accuracy(settings, "new_market") + 0.02


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"noise": 0.0}, r"data\.noise"),
        ({"features": 3}, r"data\.features"),
        ({"n_source": 1}, r"data\.n_source"),
        ({"concept_shift": 4.0}, r"data\.concept_shift"),
        ({"label_shift": float("nan")}, r"data\.label_shift"),
        ({"data_seed": -1}, r"data\.data_seed"),
    ],
)
def test_knobs_out_of_range_are_named(knobs, message):
    with pytest.raises(ConfigError, match=message):
        SimulatedMarketConfig(**knobs)


def test_the_interest_is_the_scaled_posterior_mean_of_what_both_views_show():
    """Gaussian conditioning: E[z | x_0, x_1] = 1' S^-1 (x_0, x_1) with S the covariance of the views."""
    covariance = np.ones((2, 2)) + np.diag([0.45**2, 0.3**2])
    posterior = np.linalg.solve(covariance, np.ones(2))
    weights = simulated_market._INTEREST
    np.testing.assert_allclose(weights / weights[0], posterior / posterior[0])
    assert weights @ covariance @ weights == pytest.approx(1.0)


def test_half_of_every_knob_acts_on_the_third_market():
    settings = config(covariate_shift=1.0, label_shift=1.0)
    half = config(covariate_shift=0.5, label_shift=0.5)
    x = np.random.default_rng(0).normal(size=(50, 6))
    np.testing.assert_allclose(log_density(settings, x, "third_market"), log_density(half, x, "new_market"), rtol=1e-12)
    assert expit(logit(purchase_rate(half, "new_market"))) == pytest.approx(purchase_rate(settings, "third_market"))
