"""The portfolio on problems whose answer is known: old data that help, that say nothing, and that mislead."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from tl_research.alignment.base import Rows
from tl_research.errors import ConfigError
from tl_research.portfolio import crossfit
from tl_research.portfolio.crossfit import ENOUGH_ROWS, cross_fitted, folds_of, folds_predicted, repeats_of
from tl_research.portfolio.head import PortfolioConfig, PortfolioHead
from tl_research.portfolio.learners import make_learner
from tl_research.portfolio.mixtures import MIXTURES
from tl_research.portfolio.parts import TargetAlone

COLUMNS = 8
QUICK = {"trees": 25, "repeats": 1}


def rows_of(n: int, seed: int, direction: float = 1.0) -> Rows:
    """Rows whose label is 1 with log odds 2 · direction · (x_0 + x_1 + x_2)."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, COLUMNS)).astype(np.float32)
    odds = 2 * direction * x[:, :3].sum(axis=1)
    label = (random.random(n) < 1 / (1 + np.exp(-odds))).astype(np.int64)
    return Rows(torch.from_numpy(x), torch.from_numpy(label))


def fitted(source: Rows, shown: Rows, seed: int = 0, **options) -> PortfolioHead:
    head = PortfolioHead(PortfolioConfig(**QUICK, **options), "class")
    head.fit_transfer(source, shown, classes=2, seed=seed)
    return head


def log_loss(head: PortfolioHead, rows: Rows) -> float:
    return float(torch.nn.functional.cross_entropy(head(rows.x), rows.label))


TEST = rows_of(3000, seed=99)


def test_old_data_of_the_same_truth_help_and_the_gate_says_so():
    source, shown = rows_of(2000, 1), rows_of(30, 2)
    gate, never = fitted(source, shown), fitted(source, shown, old_data="never")
    assert gate.facts["old_data"]["used"]
    assert gate.facts["old_data"]["gain"] > 1.5 * gate.facts["old_data"]["standard_error"]
    assert log_loss(gate, TEST) < log_loss(never, TEST) - 0.1


@cache
def log_loss_without_old_data(seed: int) -> float:
    """Of a portfolio that reads no source row (below): it is the same whatever the old data say."""
    return log_loss(fitted(rows_of(1000, 10 + seed), rows_of(120, 20 + seed), seed, old_data="never"), TEST)


@pytest.mark.parametrize("direction", [0.0, -1.0])
def test_old_data_that_say_nothing_or_mislead_cost_little(direction):
    losses = []
    for seed in range(3):
        gate = fitted(rows_of(1000, 10 + seed, direction), rows_of(120, 20 + seed), seed)
        losses.append(log_loss(gate, TEST) - log_loss_without_old_data(seed))
    assert np.mean(losses) < 0.01


def test_never_reads_no_source_row():
    shown = rows_of(40, 2)
    one, other = (fitted(rows_of(500, seed, 0.5), shown, old_data="never") for seed in (1, 2))
    assert torch.equal(one(TEST.x), other(TEST.x))
    assert one.facts["source_rows"] == 0
    assert set(one.facts["parts"]) == {f"target {name}" for name in ("linear", "strict", "forest", "boosting")}


def test_a_part_is_cross_fitted_on_rows_that_it_has_not_seen():
    """Labels that no feature tells: a learner that remembers its rows would be right on all, cross-fitted it is not."""
    random = np.random.default_rng(0)
    x = torch.from_numpy(random.normal(size=(200, COLUMNS)).astype(np.float32))
    shown = Rows(x, torch.from_numpy(random.integers(0, 2, 200)))
    part = TargetAlone(lambda name, rows, quick: make_learner(name, "class", rows), "boosting", "class")
    part.fit(shown, shown, x[:, :0], classes=2, seed=0)
    assert (part(x, {}).argmax(1) == shown.label).double().mean() > 0.98
    _, of_parts = cross_fitted(MIXTURES["class"], {"it": part}, {}, shown, shown, classes=2, repeats=1, seed=0)
    said = of_parts["it"]
    assert (said.argmax(1) == shown.label).double().mean() < 0.65


def test_folds_share_out_every_class_and_all_rows():
    label = torch.tensor([0] * 50 + [1] * 12 + [2] * 3)
    fold = folds_of(label, stratified=True, seed=0)
    assert np.bincount(fold).tolist() == [13] * 5
    for kind, count in ((0, 50), (1, 12), (2, 3)):
        shares = np.bincount(fold[label.numpy() == kind], minlength=5)
        assert shares.sum() == count
        assert shares.max() - shares.min() <= 1
    assert (repeats_of(20), repeats_of(150), repeats_of(5000)) == (4, 2, 1)


def test_of_many_rows_the_first_folds_are_predicted():
    for rows, folds in ((50, 5), (ENOUGH_ROWS, 5), (2 * ENOUGH_ROWS, 3), (5 * ENOUGH_ROWS, 1), (50 * ENOUGH_ROWS, 1)):
        assert folds_predicted(folds_of(torch.zeros(rows), stratified=False, seed=0)) == folds
    shown = rows_of(60, 2)
    part = TargetAlone(lambda name, rows, quick: make_learner(name, "class", rows), "linear", "class")
    arguments = {"classes": 2, "repeats": 1, "seed": 0}
    everything, said = cross_fitted(MIXTURES["class"], {"it": part}, {}, shown, shown, **arguments)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crossfit, "ENOUGH_ROWS", 20)
        places, some = cross_fitted(MIXTURES["class"], {"it": part}, {}, shown, shown, **arguments)
    assert (len(everything), len(places)) == (60, 24)
    torch.testing.assert_close(some["it"], said["it"][places])


@pytest.fixture(scope="module")
def small():
    """Of few rows of either side; no test may change it."""
    return fitted(rows_of(300, 1), rows_of(60, 2))


def test_its_file_holds_the_heard_parts_and_loads_without_them_being_fitted(small):
    head = small
    state = head.state_dict()
    again = PortfolioHead(PortfolioConfig(**QUICK), "class")
    again.load_state_dict(state)
    assert torch.equal(again(TEST.x), head(TEST.x))
    assert again.state_dict().keys() == state.keys()
    assert head(TEST.x).exp().sum(dim=1).allclose(torch.ones(len(TEST.x)))


def test_the_same_seed_makes_the_same_portfolio(small):
    assert torch.equal(fitted(rows_of(300, 1), rows_of(60, 2))(TEST.x), small(TEST.x))


def test_without_target_labels_it_is_the_mean_of_the_source_s_learners():
    source = rows_of(400, 1)
    head = fitted(source, Rows(source.x[:0], source.label[:0]))
    wanted = torch.stack([learner(TEST.x).softmax(1) for learner in head.learners.values()]).mean(0)
    torch.testing.assert_close(head(TEST.x).exp(), wanted, atol=1e-4, rtol=0)
    with pytest.raises(ConfigError, match=r"^old_data: never wants target rows with labels"):
        fitted(source, Rows(source.x[:0], source.label[:0]), old_data="never")


def test_with_two_labels_nothing_is_cross_fitted():
    source, few = rows_of(400, 1), Rows(torch.eye(2, COLUMNS), torch.tensor([0, 1]))
    alone = fitted(source, few, old_data="never")
    wanted = torch.stack([part.head(TEST.x).softmax(1) for part in alone.parts.values()]).mean(0)
    torch.testing.assert_close(alone(TEST.x).exp(), wanted, atol=1e-4, rtol=0)
    assert log_loss(fitted(source, few), TEST) < log_loss(alone, TEST)


def test_a_class_that_no_shown_row_has_is_predicted_from_the_source():
    source = rows_of(600, 1)
    label = source.label + 2 * (source.x[:, 0] > 1.0)
    shown = rows_of(40, 2)
    head = PortfolioHead(PortfolioConfig(**QUICK), "class")
    head.fit_transfer(Rows(source.x, label), shown, classes=4, seed=0)
    assert head(TEST.x).isfinite().all()


def test_numbers_gain_from_old_numbers():
    def numbers(n, seed):
        rows = rows_of(n, seed)
        noise = torch.from_numpy(np.random.default_rng(seed).normal(size=n).astype(np.float32))
        return Rows(rows.x, rows.x[:, :4].sum(dim=1) + 0.5 * noise)

    source, shown, test = numbers(1500, 1), numbers(16, 2), numbers(2000, 3)
    errors = {}
    for old_data in ("gate", "never"):
        head = PortfolioHead(PortfolioConfig(**QUICK, old_data=old_data), "regression")
        head.fit_transfer(source, shown, classes=1, seed=0)
        errors[old_data] = float((head(test.x)[:, 0] - test.label).square().mean())
    assert errors["gate"] < 0.6 * errors["never"]


def test_source_rows_beyond_the_most_are_drawn_by_the_seed():
    source, shown = rows_of(500, 1), rows_of(30, 2)
    head = fitted(source, shown, source_rows=100)
    assert head.facts["source_rows"] == 100
    assert not torch.equal(head(TEST.x), fitted(source, shown, 1, source_rows=100)(TEST.x))


@pytest.mark.parametrize(
    ("key", "value"), [("old_data", "sometimes"), ("source_rows", 0), ("trees", 0), ("repeats", 0)]
)
def test_options_out_of_range_are_named(key, value):
    with pytest.raises(ConfigError, match=f"^{key}: got"):
        PortfolioConfig(**{key: value})


def rare_rows(n: int, seed: int, share: float) -> Rows:
    """Two classes of one Gaussian each, 2 apart along the first column; the second has this share."""
    random = np.random.default_rng(seed)
    label = (random.random(n) < share).astype(np.int64)
    x = random.normal(size=(n, COLUMNS)).astype(np.float32)
    x[:, 0] += 2 * label
    return Rows(torch.from_numpy(x), torch.from_numpy(label))


def mean_predicted(head: PortfolioHead, rows: Rows) -> float:
    return float(head(rows.x).exp()[:, 1].mean())


def test_balanced_labels_of_a_rare_class_do_not_predict_half_once_the_share_is_known_or_estimated():
    """The probability trap: 15 % happen, half of the shown labels did."""
    source, shown, test = rare_rows(1500, 1, 0.15), rare_rows(200, 2, 0.5), rare_rows(4000, 3, 0.15)
    head = fitted(source, shown)
    assert mean_predicted(head, test) > 0.25
    plain = log_loss(head, test)
    head.correct_prior(["0.15"], test.x, names=("no", "yes"))
    happened = float(test.label.double().mean())
    assert mean_predicted(head, test) == pytest.approx(happened, abs=0.025)
    known = log_loss(head, test)
    head.correct_prior(["em"], test.x, names=("no", "yes"))
    assert mean_predicted(head, test) == pytest.approx(happened, abs=0.04)
    assert head.facts["prior"]["wanted"]["yes"] == pytest.approx(0.15, abs=0.05)
    assert known < plain - 0.05
    # The file has it too.
    again = PortfolioHead(PortfolioConfig(**QUICK), "class")
    again.load_state_dict(head.state_dict())
    assert torch.equal(again(test.x), head(test.x))


def test_shares_that_are_those_of_the_labels_change_nothing():
    source, shown = rare_rows(500, 1, 0.3), rare_rows(100, 2, 0.3)
    head = fitted(source, shown)
    before, share = head(TEST.x), float(shown.label.double().mean())
    head.correct_prior([str(share)], TEST.x, names=("no", "yes"))
    torch.testing.assert_close(head(TEST.x), before, atol=1e-5, rtol=0)


def test_without_labels_the_shares_are_corrected_from_those_of_the_source():
    source, test = rare_rows(3000, 1, 0.5), rare_rows(4000, 3, 0.15)
    head = fitted(source, Rows(source.x[:0], source.label[:0]))
    assert mean_predicted(head, test) > 0.22
    head.correct_prior(["em"], test.x, names=("no", "yes"))
    assert mean_predicted(head, test) == pytest.approx(0.15, abs=0.04)


def test_the_combination_is_calibrated_and_its_file_has_it():
    """Chosen on rows that it has not seen, it costs nothing on others."""
    source, shown = rows_of(500, 1), rows_of(1000, 2)
    never = fitted(source, shown, calibration="never")
    assert not never.final.is_fitted
    auto = fitted(source, shown)
    assert auto.facts["calibration"]["chosen"] in ("none", "temperature", "beta", "isotonic")
    assert log_loss(auto, TEST) < log_loss(never, TEST) + 0.002
    again = PortfolioHead(PortfolioConfig(**QUICK), "class")
    again.load_state_dict(auto.state_dict())
    assert torch.equal(again(TEST.x), auto(TEST.x))


def test_numbers_have_no_class_shares():
    head = PortfolioHead(PortfolioConfig(**QUICK), "regression")
    with pytest.raises(ConfigError, match=r"^prior: got '0.2', wants null: a number has no class shares"):
        head.correct_prior(["0.2"], TEST.x, names=())
