"""Adversarial games: what they gain on two moons, what their discriminators know, what their stages leave alone."""

from statistics import median

import pytest
import torch

from tests.contracts.chosen import proofs
from tests.contracts.problem import made_sure, method_config, module_and_batch
from tests.methods import moons
from tl_research.errors import ConfigError
from tl_research.losses.adversarial import domain_bce
from tl_research.losses.dynamic_factor import dynamic_factor
from tl_research.methods.changed_inputs import changed, width_of_numbers
from tl_research.methods.step import Step
from tl_research.nn.frozen import values_of
from tl_research.registry import METHODS
from tl_research.runs.experiment import run

GAINING = ("cdan_e", "adda", "mcd", "mdd", "vada")
#: What the discriminator's term is worth where it knows nothing, and the share of it that a term is below elsewhere.
DISCRIMINATORS = {
    "dann": ("domain", 0.693),
    "cdan": ("domain", 0.693),
    "cdan_e": ("domain", 0.693),
    "daan": ("domain", 0.347),  # half of it: the other half is the classes'
    "gvb": ("domain", 0.693),
    "vada": ("domain", 0.693),
    "toalign": ("domain", 0.693),
    "symnets": ("heads.domain", 1.386),
    "adda": ("discriminator.domain", 0.693),
    "mdd": ("disparity", 2.502),
}


@pytest.mark.slow
@pytest.mark.parametrize("method", proofs(GAINING))
def test_gains_on_two_moons(method):
    gains = moons.recipe_gains(method)
    assert median(gains) >= moons.WANTED, gains


@pytest.mark.parametrize("method", DISCRIMINATORS)
def test_reversal_scales_the_reversed_gradient_alone(method, tmp_path):
    """At weight 0 the discriminator learns all the same, of domains that differ: its loss is below that of chance."""
    term, chance = DISCRIMINATORS[method]
    words = ["method.weight=0", "trainer.max_epochs=6", "optimizer.lr=0.01", "selection.rule=last"]
    if method in ("mdd", "symnets"):
        words.append("method.hidden=[64]")
    record = run(method_config(method, tmp_path, *words, "data.n_source=600", "data.n_target=600"))
    found = record.metrics["last"][f"train/{term}"]
    assert found < 0.97 * chance


@pytest.mark.parametrize("method", ["dann", "cdan", "cdan_e", "daan", "toalign"])
def test_at_weight_0_the_predictions_are_those_of_source_only(method):
    short = ("trainer.max_epochs=2", "trainer.threads=1")
    assert moons.accuracy(method, 0, *short, "method.weight=0") == moons.accuracy("source_only", 0, *short)


def step_of(method: str) -> tuple[torch.nn.Module, Step]:
    module, batch = module_and_batch(method)
    return module, Step(made_sure(module), batch, module.phase(module.epochs - 1))


def test_many_products_are_drawn_at_random_and_kept_with_the_model(monkeypatch):
    config = METHODS.get("cdan").config
    monkeypatch.setattr(config, "randomised_above", 63)  # 32 features × 2 classes are 64 products
    module, _ = module_and_batch("cdan")
    assert not module.randomised
    module.config.randomised_above, module.config.randomised_width = 63, 16
    module.build()
    assert module.randomised
    assert module.discriminator[0].in_features == 16
    assert {"of_features", "of_classes"} <= module.state_dict().keys()


def test_two_heads_predict_by_the_mean_of_their_logits():
    module, step = step_of("mcd")
    inputs, features = step.batch.target.inputs, step.target.features
    module.eval()
    _, logits = module(inputs)
    torch.testing.assert_close(logits, (module.head(features) + module.second(features)) / 2)
    module.train()
    torch.testing.assert_close(module(inputs)[1], module.head(features))


def test_equal_heads_have_no_discrepancy_and_both_learn_the_source():
    module, step = step_of("mcd")
    module.second.load_state_dict(module.head.state_dict())
    task, heads, features = module.objectives()
    assert features.terms(step)["discrepancy"].item() == 0
    losses = task.terms(step)
    assert losses["second_source_task"].item() == pytest.approx(losses["source_task"].item())
    assert (task.every, heads.every, features.every) == (1, 1, 4)
    assert features.parts == ("encoder",)


def test_the_target_head_of_symmetric_heads_predicts():
    module, step = step_of("symnets")
    module.eval()
    torch.testing.assert_close(module(step.batch.target.inputs)[1], module.second(step.target.features))


def test_the_source_encoder_of_adda_is_that_of_its_source_stage(tmp_path):
    with pytest.raises(ConfigError, match=r"trainer\.max_epochs: got 1, wants 2 or more"):
        method_config("adda", tmp_path, "trainer.max_epochs=1")
    module, step = step_of("adda")
    source = module.phase(0)
    assert [module.phase(epoch).name for epoch in (0, 9, 10, 19)] == ["source", "source", "target", "target"]
    assert not source.selectable
    module._enter(source)
    assert [objective.name for objective in module.objectives()] == ["source"]
    with torch.no_grad():
        for parameter in module.encoder.parameters():
            parameter.add_(1)
    module.after_step(Step(module, step.batch, source))
    frozen, own = module.source_encoder.values(), values_of(module.encoder)
    assert all(torch.equal(frozen[name], own[name]) for name in own)
    with torch.no_grad():
        for parameter in module.encoder.parameters():
            parameter.add_(1)
    module.after_step(step)
    assert not any(torch.equal(frozen[name], own[name]) for name in own)


def test_the_dynamic_factor_is_that_of_the_last_epochs_errors(monkeypatch):
    module, step = step_of("daan")
    first = module.terms(step)
    module.after_step(step)
    assert module.omega.item() == 0.5
    errors = step.kept("errors")[0]
    monkeypatch.setattr(type(module), "current_epoch", 1)
    module.after_step(step)
    expected = dynamic_factor(errors[0], errors[1:])
    assert module.omega.item() == pytest.approx(expected.item())
    assert int(module.steps) == 1
    again = module.terms(step)
    ratio = (1 - module.omega) / 0.5
    assert again["domain"].item() == pytest.approx((first["domain"] * ratio).item(), rel=1e-5)
    assert step.reported["omega"].item() == module.omega.item()


def test_bridges_of_0_are_dann_on_probabilities():
    module, step = step_of("gvb")
    with torch.no_grad():
        module.bridge.weight.zero_()
        module.bridge.bias.zero_()
        module.discriminator[-1].weight[1].zero_()
        module.discriminator[-1].bias[1].zero_()
    step = Step(module, step.batch, step.phase)
    terms = module.terms(step)
    assert terms["bridge"].item() == terms["discriminator_bridge"].item() == 0
    assert torch.equal(step.source.logits, module.head(step.source.features))
    weights = [
        1 + (p * p.log()).sum(dim=1).exp() for p in (r.logits.softmax(dim=1) for r in (step.source, step.target))
    ]
    logits = [module.discriminator(rows.logits.softmax(dim=1))[:, 0] for rows in (step.source, step.target)]
    weight_s, weight_t = ((weight / weight.mean()).detach() for weight in weights)
    expected = domain_bce(*logits, source_weight=weight_s, target_weight=weight_t)
    assert terms["domain"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_worst_change_is_worse_than_a_random_one_of_its_length():
    module, step = step_of("vada")
    module.config.radius = 0.1
    worst = module._change_loss(step, "target").item()
    rows = step.batch.target
    random = torch.nn.functional.normalize(torch.randn(rows.inputs.shape, generator=torch.Generator().manual_seed(0)))
    moved = step.view("target", lambda inputs: inputs + 0.1 * random).logits
    log_p, log_q = step.target.logits.log_softmax(dim=1), moved.log_softmax(dim=1)
    assert worst > 1.5 * (log_p.exp() * (log_p - log_q)).sum(dim=1).mean().item() > 0


def test_only_numbers_are_changed():
    codes = torch.arange(6).reshape(3, 2)
    inputs = {"numeric": torch.zeros(3, 2), "categories": codes, "image": torch.zeros(3, 2, 2, 1)}
    assert width_of_numbers(inputs) == 6
    found = changed(inputs, torch.arange(18.0).reshape(3, 6))
    assert found["categories"] is codes
    assert found["numeric"].tolist() == [[0, 1], [6, 7], [12, 13]]
    assert found["image"][1].flatten().tolist() == [8, 9, 10, 11]
    assert width_of_numbers({"categories": codes}) == 0
    assert torch.equal(changed(torch.ones(2, 2), torch.ones(2, 2)), torch.full((2, 2), 2.0))


def test_slopes_of_a_linear_head_are_the_weights_of_the_rows_classes():
    module, step = step_of("toalign")
    rows = step.source
    torch.testing.assert_close(module._slope(rows), module.head.weight[rows.label].detach())
