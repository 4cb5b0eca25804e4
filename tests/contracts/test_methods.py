"""Section 6 of the design, over every registered method: a new method gets all of it by being registered.

Methods from outside the package take part too: TL_RESEARCH_PLUGINS=my_method.py pytest tests/contracts. The contracts
that train are for the methods of `chosen`; `--all` puts every method to them.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import pytest
import torch
from omegaconf import OmegaConf

from tests.contracts.chosen import chosen
from tests.contracts.killed import assert_resumed_equals_uninterrupted
from tests.contracts.problem import (
    LABELLED,
    acts_on_the_loss,
    adapting,
    add_gradients,
    baseline_of,
    data_of,
    is_closed_form,
    is_game,
    is_source_free,
    learns_numbers_only,
    lives_by_its_source,
    made_sure,
    method_config,
    module_and_batch,
    shots_of,
    switched_off,
    total_loss,
    trained,
    trained_parameters,
)
from tests.contracts.ranks import gradients_on_one, gradients_on_ranks
from tl_research.config import compose, run_id
from tl_research.errors import ConfigError
from tl_research.evaluation.measure import predict
from tl_research.methods.base import AdaptationModule, Encoded, Phase, Step
from tl_research.methods.build import build_method
from tl_research.methods.staged import ParameterConfig, ParameterMethod
from tl_research.metrics.registered import higher_is_better
from tl_research.registry import METHODS, SETTINGS, register_method
from tl_research.runs.experiment import run
from tl_research.runs.predictor import Predictor

ALL = LABELLED
ADAPTING = adapting(ALL)
COMPARING = [name for name in ADAPTING if not METHODS.get(name).no_null]  # terms that compare the domains
OF_TARGET = [name for name in ADAPTING if METHODS.get(name).no_null]
CLOSED_FORM = [name for name in ALL if is_closed_form(name)]
TRAINED = [name for name in ALL if not is_closed_form(name)]
GAMES = [name for name in TRAINED if is_game(name)]  # their losses are `objectives`; the rest have `terms`
WITH_GAIN = [name for name in ALL if METHODS.get(name).gain is not None]
SEEDS = (0, 1, 2)
#: Of a stated gain, what must be due to the method's own terms.
OWN_SHARE = 0.5


@pytest.fixture(scope="session")
def output(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def half_way(monkeypatch):
    """Ramps stand where a run is half done."""
    monkeypatch.setattr(AdaptationModule, "progress", 0.5)


# 1. Configuration


@pytest.mark.parametrize("method", ALL)
def test_config_round_trip(method):
    config = method_config(method, "runs")
    again = compose(OmegaConf.to_container(config))
    assert again == config
    assert run_id(again) == run_id(config)


@pytest.mark.parametrize("method", ALL)
def test_a_typo_is_refused_with_the_right_hint(method):
    field = [*METHODS.get(method).config.__dataclass_fields__][-1]
    typo = field[:-1] + "_" + field[-1]
    with pytest.raises(ConfigError, match=rf"method\.{typo}: unknown key; did you mean '{field}'"):
        method_config(method, "runs", f"method.{typo}=1")


@pytest.mark.parametrize("method", ALL)
def test_registration_tells_what_a_table_needs(method):
    entry = METHODS.get(method)
    assert entry.summary
    assert entry.paper
    assert set(entry.settings) <= set(SETTINGS)
    if method in ADAPTING:
        assert (entry.null is None) == bool(entry.no_null)
    if entry.family != "baseline":
        assert (entry.gain is None) == bool(entry.no_gain)
        assert entry.gain is None or entry.gain > 0


# 2. Null and shift


def encoded(module: AdaptationModule, rows: int, shift: float, seed: int) -> Encoded:
    """Features of one distribution, moved by `shift` along one direction and stretched along another."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(rows, module.encoder.out_features, generator=generator)
    features[:, 0] += shift
    features[:, 1] *= 1 + shift
    with torch.no_grad():
        logits = module.head(features)
    index = torch.arange(rows)
    return Encoded(features, logits, index % 2, index, torch.zeros(rows, dtype=torch.long))


def terms_on(module: AdaptationModule, source: Encoded, target: Encoded) -> torch.Tensor:
    """Sum of the method's terms on rows that are encoded already."""
    step = Step(module, None, module.phase(module.epochs - 1), encoded={"source": source, "target": target})
    return sum(module.terms(step).values())


def settled_loss(module: AdaptationModule, shift: float) -> float:
    """Mean of the adaptation terms on fresh rows, once what the method owns beside encoder and head is trained."""
    own = [p for name, p in module.named_parameters() if not name.startswith(("encoder.", "head."))]
    if own:
        optimizer = torch.optim.Adam(own, lr=1e-3)
        for step in range(150):
            source, target = encoded(module, 256, 0.0, 2 * step), encoded(module, 256, shift, 2 * step + 1)
            optimizer.zero_grad()
            terms_on(module, source, target).backward()
            optimizer.step()
    with torch.no_grad():
        rows = METHODS.get(module.config.name).null_rows
        draws = max(2, 2560 // rows)  # of more rows, fewer are as exact
        values = [
            float(terms_on(module, encoded(module, rows, 0.0, s), encoded(module, rows, shift, s + 1)))
            for s in range(1000, 1000 + 2 * draws, 2)
        ]
    return sum(values) / len(values)


@pytest.mark.parametrize("method", COMPARING)
def test_null_is_null_and_shift_is_seen(method, half_way):
    null = METHODS.get(method).null
    distance = []
    for shift in (0.0, 1.0, 3.0):
        module, _ = module_and_batch(method)
        distance.append(abs(settled_loss(module, shift) - null))
    assert distance[0] < 0.1 * distance[2]
    assert distance[0] < 0.5 * distance[1]
    assert distance[1] < distance[2]


# 3. Gradients


def phases_of(module: AdaptationModule) -> dict[str, Phase]:
    return {phase.name: phase for phase in (module.phase(epoch) for epoch in range(module.epochs))}


@pytest.mark.parametrize("method", TRAINED)
def test_the_gradient_reaches_what_is_trained_and_nothing_that_is_frozen(method, half_way):
    module, batch = module_and_batch(method)
    reached = set()
    for phase in phases_of(module).values():
        for _ in range(2):  # a factor whose partner starts at 0, as LoRA's, is reached once that one has moved
            module.zero_grad()
            add_gradients(module, batch, phase)
            for name, parameter in module.named_parameters():
                if name.startswith(tuple(f"{part}." for part in phase.frozen)):
                    assert parameter.grad is None, f"{name} is frozen in phase {phase.name}"
                elif parameter.grad is not None and parameter.grad.abs().sum() > 0:
                    reached.add(name)
            with torch.no_grad():
                for parameter in module.parameters():
                    if parameter.grad is not None:
                        parameter.sub_(0.01 * parameter.grad)
    assert reached == trained_parameters(module)


@pytest.mark.parametrize("method", COMPARING)
def test_the_adaptation_terms_reach_the_encoder_from_both_sides(method, half_way):
    module, batch = module_and_batch(method)
    for side in ("source", "target"):
        module.zero_grad()
        rows = {name: module.encode(getattr(batch, name)) for name in ("source", "target")}
        other = "target" if side == "source" else "source"
        rows[other] = rows[other].map(torch.Tensor.detach)
        terms_on(module, rows["source"], rows["target"]).backward()
        assert sum(p.grad.abs().sum() for p in module.encoder.parameters()) > 0, side


@pytest.mark.parametrize("method", OF_TARGET)
def test_terms_of_the_target_reach_the_encoder_from_there(method, half_way):
    module, batch = module_and_batch(method)
    made_sure(module)
    rows = {} if batch.source is None else {"source": module.encode(batch.source).map(torch.Tensor.detach)}
    step = Step(module, batch, module.phase(module.epochs - 1), encoded=rows)
    sum(module.terms(step).values()).backward()
    assert sum(p.grad.abs().sum() for p in module.encoder.parameters()) > 0


@pytest.mark.parametrize("method", TRAINED)
def test_hidden_labels_have_no_influence(method, half_way):
    module, batch = module_and_batch(method)
    if batch.target is None:
        pytest.skip("does not read the unlabelled target")
    assert (batch.target.label == -1).all()
    other = batch._replace(target=batch.target._replace(label=torch.ones_like(batch.target.label)))
    for phase in phases_of(module).values():
        assert torch.equal(total_loss(module, batch, phase), total_loss(module, other, phase))


@pytest.mark.parametrize("method", CLOSED_FORM)
def test_a_fit_reads_no_hidden_label_and_repeats_itself(method):
    module, other = prepared(method), prepared(method, hidden_label=1)
    state, again = module.state_dict(), other.state_dict()
    assert state
    assert state.keys() == again.keys()
    assert all(torch.equal(state[name], again[name]) for name in state)


def prepared(method: str, hidden_label: int | None = None) -> AdaptationModule:
    config = method_config(method, "unused", "data.n_source=300", "data.n_target=300")
    data = data_of(config, METHODS.get(method).target.reads)
    torch.manual_seed(0)
    module = build_method(config, data.spec, data.outcome)
    target = data.sides["target"]
    if hidden_label is not None:
        target = target._replace(label=torch.full_like(target.label, hidden_label))
    module.prepare(data.sides.get("source"), target, data.sides.get("target_labeled"))
    return module


# 4. Gain over the baseline


def mean_score(method: str, name: str, output: str, *overrides: str, seeds: tuple[int, ...] = SEEDS) -> float:
    """Mean over seeds, last epoch, target test rows, of what `method`'s gain is in: higher is better."""
    metric = "r2" if learns_numbers_only(method) else METHODS.get(method).gain_in
    records = [trained(name, seed, output, *overrides) for seed in seeds]
    sign = 1 if higher_is_better(metric) else -1
    return sign * sum(record.metrics["last"][f"target_test/{metric}"] for record in records) / len(records)


def score_of_baseline(method: str, output: str, seeds: tuple[int, ...] = SEEDS) -> float:
    entry, (baseline, *options) = METHODS.get(method), baseline_of(method)
    # of the problem what is not the method's own option
    problem = [override for override in entry.problem if not override.startswith("method.")]
    same_problem = [*problem, f"data.setting={entry.settings[0]}"]
    if "few_shot" in same_problem[-1]:
        same_problem.append(shots_of(method))
    if learns_numbers_only(method) and is_closed_form(method):
        same_problem.append("method.head=boosting")
    return mean_score(method, baseline, output, *same_problem, *options, seeds=seeds)


@pytest.mark.slow
@pytest.mark.parametrize("method", chosen(WITH_GAIN))
def test_beats_its_baseline_by_the_stated_margin(method, output):
    """On target test rows, last epoch, mean of three seeds; against the same training without what makes the method.

    The gain is one of accuracy, of log loss, or of R² for a method that learns numbers only.
    """
    gain = mean_score(method, method, output) - score_of_baseline(method, output)
    assert gain >= METHODS.get(method).gain, f"{method} gains {gain:.3f} over {baseline_of(method)}"


def assert_the_gain_is_its_terms_own(method: str, output: str) -> None:
    """At least half of the stated gain is gone once the method's terms count 0 and its weights are equal; or, of one
    that adds no term and is measured over `target_only`, once it has no source stage."""
    if not acts_on_the_loss(method):
        off = mean_score(method, method, output, "method.source_share=0")
        return assert_margin(method, output, off, "without a source stage")
    with switched_off(method):
        silent = f"{output}/switched_off"
        if mean_score(method, method, silent, seeds=(0,)) == score_of_baseline(method, output, seeds=(0,)):
            off = score_of_baseline(method, output)  # it is its baseline to the bit, and two runs are spared
        else:
            off = mean_score(method, method, silent)
    return assert_margin(method, output, off, "without its terms")


def assert_margin(method: str, output: str, off: float, without: str) -> None:
    margin = mean_score(method, method, output) - off
    assert margin >= OWN_SHARE * METHODS.get(method).gain, f"{method} gains {margin:.3f} over itself {without}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", [name for name in chosen(WITH_GAIN) if acts_on_the_loss(name) or lives_by_its_source(name)]
)
def test_its_gain_is_gone_with_its_terms(method, output):
    assert_the_gain_is_its_terms_own(method, output)


@pytest.mark.slow
def test_a_term_that_does_nothing_is_found_out(output):
    """Whatever its baseline: a fine-tuning method that gains, but not by its term."""

    @dataclass
    class IdleConfig(ParameterConfig):
        name: str = "idle"

    class Idle(ParameterMethod):
        """Fine-tuning with a term of no gradient."""

        def terms(self, step):
            return {"idle": 0.1 * step.labeled.features.detach().square().mean()}

    options = {"config": IdleConfig, "family": "parameter", "settings": ("few_shot",), "paper": "none", "gain": 0.04}
    try:
        register_method("idle", **options)(Idle)
        with pytest.raises(AssertionError, match=r"idle gains -?0\.000 over \('fine_tune',\)"):
            test_beats_its_baseline_by_the_stated_margin("idle", output)
        METHODS._entries.pop("idle")
        register_method("idle", **options, over=("target_only",))(Idle)
        test_beats_its_baseline_by_the_stated_margin("idle", output)
        with pytest.raises(AssertionError, match=r"idle gains -?0\.000 over itself without its terms"):
            assert_the_gain_is_its_terms_own("idle", output)
    finally:
        METHODS._entries.pop("idle", None)


@pytest.mark.slow
def test_the_baselines_stand_in_their_order(output):
    def accuracy(name: str) -> float:
        return sum(trained(name, seed, output).metrics["last"]["target_test/accuracy"] for seed in SEEDS) / len(SEEDS)

    assert accuracy("target_oracle") > accuracy("target_only") + 0.03
    assert accuracy("target_oracle") > accuracy("source_only") + 0.03
    assert accuracy("union") > accuracy("source_only") + 0.01


# 5. Killed and resumed


@pytest.mark.parametrize("method", chosen(TRAINED))
def test_killed_and_resumed_equals_uninterrupted(method, tmp_path, monkeypatch):
    short = ("trainer.max_epochs=4", "trainer.checkpoint_every_n_steps=3", "data.n_source=300", "data.n_target=300")
    short += ("selection.rule=last",)
    if method_config(method, tmp_path).encoder.name == "mlp":
        short += ("encoder.hidden=[16]", "encoder.dropout=0.2")
    assert_resumed_equals_uninterrupted(
        *(method_config(method, tmp_path / name, *short) for name in ("whole", "killed")), monkeypatch, most=20
    )


@pytest.mark.parametrize("method", chosen(CLOSED_FORM))
def test_a_loaded_run_predicts_as_it_was_measured(method, tmp_path):
    config = method_config(method, tmp_path, "data.n_source=300", "data.n_target=300")
    record = run(config)
    data = data_of(config, METHODS.get(method).target.reads)
    test = data.release_evaluation()["target_test"]
    module = Predictor.load(tmp_path / record.run_id).module
    _, logits = predict(module, test.inputs)
    if learns_numbers_only(method):
        values = data.outcome.metrics(logits, test.label)
        assert values["r2"] == record.metrics["last"]["target_test/r2"] > 0
        return
    accuracy = (logits.argmax(dim=1) == test.label).double().mean().item()
    assert accuracy == record.metrics["last"]["target_test/accuracy"]
    assert accuracy > 0.5


# 6. Mixed precision


@pytest.mark.parametrize("method", [name for name in chosen(CLOSED_FORM) if not is_source_free(name)])
def test_what_was_fitted_is_applied_in_full_precision(method, tmp_path):
    short = ("data.n_source=300", "data.n_target=300")
    full, mixed = (
        run(method_config(method, tmp_path, *short, *more)) for more in ([], ["trainer.precision=bf16-mixed"])
    )
    assert mixed.metrics == full.metrics


@pytest.mark.parametrize("method", chosen(TRAINED))
def test_finite_under_bf16(method, tmp_path):
    # Stages share the epochs out, and a stage may have parts of its own.
    staged = issubclass(METHODS.get(method).target, ParameterMethod)
    short = (f"trainer.max_epochs={4 if staged else 2}", "data.n_source=300", "data.n_target=300")
    full = run(method_config(method, tmp_path, *short))
    mixed = run(method_config(method, tmp_path, *short, "trainer.precision=bf16-mixed"))
    terms = [key for key in full.metrics["last"] if key.startswith("train/")]
    assert terms
    for key in terms:
        assert math.isfinite(mixed.metrics["last"][key])
        assert mixed.metrics["last"][key] == pytest.approx(full.metrics["last"][key], rel=0.1, abs=0.02), key


# 7. Two processes

#: A batch norm has the statistics of its rank's rows, so that methods that need one are not those of one process.
ON_RANKS = [name for name in [*ADAPTING, *GAMES] if "encoder.batch_norm=true" not in METHODS.get(name).problem]


@pytest.fixture(scope="session")
def rank_gradients(tmp_path_factory):
    """Parameter gradients of two gloo processes that share each method's batch unevenly, averaged as DDP does."""
    return gradients_on_ranks(chosen(ON_RANKS), tmp_path_factory.mktemp("ranks"))


@pytest.mark.slow
@pytest.mark.parametrize("method", chosen(ON_RANKS))
def test_two_processes_give_the_gradient_of_one(method, rank_gradients):
    expected = gradients_on_one(method)
    assert any(gradient.abs().max() > 1e-8 for gradient in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(rank_gradients[method][name], gradient, rtol=1e-4, atol=1e-6, msg=name)


# 8. Closed forms and libraries: tests/losses and tests/kernels, one a loss.


def test_every_method_is_seen():
    assert len(ALL) >= 8
    assert not os.environ.get("TL_RESEARCH_PLUGINS") or len(ALL) >= 9
