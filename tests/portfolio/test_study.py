"""One study answers with and without the old data: it is two portfolios, which are fitted once."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from tests.portfolio.test_head import QUICK, TEST, fitted, rows_of
from tl_research.alignment.base import Rows
from tl_research.errors import ConfigError
from tl_research.portfolio.combine import bagged_weights, calibrate, gain
from tl_research.portfolio.crossfit import cross_fitted
from tl_research.portfolio.head import PortfolioConfig, PortfolioHead
from tl_research.portfolio.learners import make_learner
from tl_research.portfolio.mixtures import MIXTURES
from tl_research.portfolio.part import Scores, score_columns
from tl_research.portfolio.parts import make_parts
from tl_research.portfolio.study import LEAST_WEIGHT, Study, learn_source, rounds, said_in_repeat, study

CONFIG = PortfolioConfig(**QUICK)


def studied(source: Rows, shown: Rows, seed: int = 0, config: PortfolioConfig = CONFIG) -> Study:
    learners = learn_source(config, "class", source, classes=2, seed=seed)
    return study(config, "class", source, shown, learners, classes=2, seed=seed)


@pytest.fixture(scope="module")
def rows() -> tuple[Rows, Rows]:
    return rows_of(400, 1), rows_of(60, 2)


@pytest.fixture(scope="module")
def one(rows) -> Study:
    return studied(*rows)


def test_its_answers_are_the_three_portfolios(rows, one):
    for old_data in ("gate", "always", "never"):
        alone = fitted(*rows, old_data=old_data)
        assert torch.equal(one.head(old_data)(TEST.x), alone(TEST.x))
        assert one.head(old_data).state_dict().keys() == alone.state_dict().keys()


def test_the_answer_is_the_formula_in_a_loop(rows, one):
    """Cross-fit, calibrate, weigh, refit and mix, written out; then what the last calibration makes of it."""
    source, shown = rows
    plain = studied(*rows, config=PortfolioConfig(**QUICK, calibration="never"))
    mixture, label = MIXTURES["class"], shown.label.numpy()
    learners = {name: make_learner(name, "class", len(source.x), trees=25) for name in ("linear", "forest", "boosting")}
    for learner in learners.values():
        learner.fit(source.x, source.label, None, classes=2, seed=0)
    parts = make_parts(lambda name, n, quick: make_learner(name, "class", n, trees=25), "class", old_data=True)
    _, said = cross_fitted(mixture, parts, learners, source, shown, classes=2, repeats=1, seed=0)
    moves = {name: calibrate(mixture, z.numpy(), label) for name, z in said.items()}
    moved = {name: mixture.calibrated(z.numpy(), *moves[name]) for name, z in said.items()}
    found = {}
    for use in (True, False):
        names = [name for name in parts if use or not parts[name].reads_source]
        found[use] = names, bagged_weights(mixture, np.stack([moved[name] for name in names]), label, seed=0)
    assert one.facts["gain"] == gain(found[True][1], found[False][1]).mean
    for use, old_data in ((True, "always"), (False, "never")):
        names, weights = found[use]
        kept = {name: w for name, w in zip(names, weights.weight, strict=True) if w >= LEAST_WEIGHT}
        total = torch.zeros(len(TEST.x), 2, dtype=torch.float64)
        columns = score_columns({name: learner(shown.x) for name, learner in learners.items()}, shown.x)
        for name, w in kept.items():
            parts[name].fit(source, shown, columns, classes=2, seed=0)
            z = parts[name](TEST.x, Scores.of(learners, TEST.x)).double()
            p = z.softmax(1).clamp_min(1e-6).log() * moves[name].slope + torch.from_numpy(moves[name].bias)
            total += w / sum(kept.values()) * p.softmax(1)
        torch.testing.assert_close(plain.head(old_data)(TEST.x).double().exp(), total, atol=1e-6, rtol=0)
        final = one.head(old_data).final
        wanted = final((total / total.sum(1, keepdim=True)).log()).exp()
        torch.testing.assert_close(one.head(old_data)(TEST.x).double().exp(), wanted, atol=1e-6, rtol=0)


def test_parts_that_two_answers_hear_are_the_same_modules_fitted_once(one):
    both, alone = one.head("always"), one.head("never")
    assert one.head("always") is both
    shared = set(both.parts) & set(alone.parts)
    assert shared
    assert all(both.parts[name] is alone.parts[name] for name in shared)


def test_what_the_parts_say_adds_up_to_the_answer(one):
    for old_data in ("always", "never"):
        weights = one.facts["weights"]["with" if old_data == "always" else "without"]
        total = sum(weight * one.outputs(name, TEST.x).double().exp() for name, weight in weights.items())
        final = one.head(old_data).final
        wanted = final((total / total.sum(1, keepdim=True)).log()).exp()
        torch.testing.assert_close(one.head(old_data)(TEST.x).double().exp(), wanted, atol=1e-6, rtol=0)
        assert torch.equal(one.combined(old_data, TEST.x), one.head(old_data)(TEST.x))


def test_of_other_rows_it_says_something_else(one):
    first, last = TEST.x[:50], TEST.x[50:100]
    said = one.outputs("target linear", first)
    assert not torch.equal(one.outputs("target linear", last), said)
    assert torch.equal(one.outputs("target linear", first), said)


def test_a_part_knows_what_it_reads(one):
    assert one.reads_source("pooled linear")
    assert one.reads_target("pooled linear")
    assert not one.reads_source("target forest")
    assert not one.reads_target("source linear")
    assert set(one.facts["losses"]) == set(one.names)


def test_without_the_old_data_no_source_row_is_read(rows):
    _, shown = rows
    config = PortfolioConfig(**QUICK, old_data="never")
    found = studied(rows_of(5, 7), shown, config=config)
    assert not any(found.reads_source(name) for name in found.names)
    assert torch.equal(found.head("never")(TEST.x), fitted(*rows, old_data="never")(TEST.x))
    with pytest.raises(ConfigError, match=r"^old_data: always has no part to hear"):
        found.head("always")


def test_learners_of_the_source_can_be_sent_to_other_processes(rows, one):
    source, shown = rows
    sent = pickle.loads(pickle.dumps(learn_source(CONFIG, "class", source, classes=2, seed=0)))
    again = study(CONFIG, "class", source, shown, sent, classes=2, seed=0)
    assert torch.equal(again.head("gate")(TEST.x), one.head("gate")(TEST.x))


def test_parts_that_are_cross_fitted_elsewhere_give_the_same_study(rows):
    """Each part in each repeat is a function of its own: computed in another order they are the study, bit for bit."""
    source, shown = rows
    config = PortfolioConfig(**QUICK | {"repeats": 2})
    learners = learn_source(config, "class", source, classes=2, seed=0)
    work = rounds(config, "class", shown)
    one = study(config, "class", source, shown, learners, classes=2, seed=0)
    assert work == [(repeat, name) for repeat in (0, 1) for name in one.names]
    done = {
        (repeat, name): said_in_repeat(
            config, "class", source, shown, learners, repeat=repeat, name=name, classes=2, seed=0
        )
        for repeat, name in reversed(work)
    }
    other = study(config, "class", source, shown, learners, classes=2, seed=0, done=done)
    assert one.facts == other.facts
    assert torch.equal(one.head("gate")(TEST.x), other.head("gate")(TEST.x))
    assert not rounds(config, "class", Rows(shown.x[:3], shown.label[:3]))


def test_with_three_labels_both_answers_are_there(rows):
    source, shown = rows
    few = Rows(shown.x[:3], torch.tensor([0, 1, 1]))
    found = studied(source, few)
    assert set(found.head("never").parts) == {f"target {name}" for name in ("linear", "strict", "forest", "boosting")}
    assert set(found.head("gate").parts) == {f"source {name}" for name in ("linear", "forest", "boosting")}


def test_a_portfolio_takes_a_study_and_its_file_loads(rows, one):
    head = PortfolioHead(CONFIG, "class")
    head.take(one)
    assert head.facts == fitted(*rows).facts
    again = PortfolioHead(CONFIG, "class")
    again.load_state_dict(head.state_dict())
    assert torch.equal(again(TEST.x), one.head("gate")(TEST.x))


def test_other_class_shares_move_every_answer_and_part_alike(rows):
    found = studied(*rows)
    names = (*(f"answer {old_data}" for old_data in ("gate", "never")), "target linear", "pooled linear")

    def odds() -> dict[str, torch.Tensor]:
        said = [found.combined(old_data, TEST.x) for old_data in ("gate", "never")]
        said += [found.outputs(name, TEST.x) for name in names[2:]]
        return {name: logp[:, 1] - logp[:, 0] for name, logp in zip(names, said, strict=True)}

    before = odds()
    found.correct_prior(["yes=0.2"], TEST.x, names=("no", "yes"))
    share = float(rows[1].label.double().mean())
    moved = np.log(0.2 / 0.8) - np.log(share / (1 - share))
    for name, after in odds().items():
        torch.testing.assert_close(after - before[name], torch.full_like(after, moved), atol=1e-3, rtol=0)
    # An answer that is asked for later has it too.
    torch.testing.assert_close(found.head("always").shift.state_dict(), found.head("never").shift.state_dict())
    assert found.facts["prior"]["shown"]["yes"] == pytest.approx(share)


@pytest.mark.parametrize(
    ("kind", "gain", "opened"), [("class", -0.9, True), ("class", -1.1, False), ("regression", -0.1, False)]
)
def test_the_gate_shuts_beyond_the_doubt_of_the_outcome(kind, gain, opened):
    """Of classes beyond one standard error of the loss; of numbers at any loss."""
    found = Study.__new__(Study)
    found.mixture, found.facts = MIXTURES[kind], {"gain": 0.02 * gain, "standard_error": 0.02}
    assert found.uses_old_data("gate") is opened
