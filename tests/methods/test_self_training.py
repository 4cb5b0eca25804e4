"""Self-training: what it gains on two moons, what it reports, what its memories and averages hold."""

from statistics import median

import pytest
import torch

from tests.contracts.chosen import proofs
from tests.contracts.problem import made_sure, module_and_batch
from tests.methods import moons
from tl_research.losses.pseudo_labels import class_thresholds
from tl_research.methods.step import Step
from tl_research.nn.frozen import values_of

METHODS = (
    "entropy_minimisation", "mcc", "bnm", "pseudo_label", "mean_teacher", "fixmatch", "cbst", "atdoc", "adamatch"
)  # fmt: skip
REPORTING = ("pseudo_label", "mean_teacher", "fixmatch", "cbst", "adamatch")


@pytest.mark.slow
@pytest.mark.parametrize("method", proofs(METHODS))
def test_gains_on_two_moons(method):
    gains = moons.recipe_gains(method)
    assert median(gains) >= moons.WANTED, gains


@pytest.mark.parametrize("method", METHODS)
def test_without_its_weight_it_is_source_only(method):
    words = [*moons.options(method), "method.weight=0"]
    if method == "adamatch":
        words.append("method.source_weight=0")
    short = ("trainer.max_epochs=2", *words)
    if method == "mean_teacher":
        short += ("method.decay=0",)  # its teacher is the student then
    assert moons.accuracy(method, 0, *short) == moons.accuracy("source_only", 0, "trainer.max_epochs=2")


def step_of(method: str) -> tuple[torch.nn.Module, Step, dict[str, torch.Tensor]]:
    module, batch = module_and_batch(method)
    step = Step(made_sure(module), batch, module.phase(0))
    return module, step, module.terms(step)


@pytest.mark.parametrize("method", REPORTING)
def test_the_share_of_labels_that_are_taken_is_reported_and_no_part_of_the_loss(method):
    module, step, terms = step_of(method)
    share = step.reported["taken"]
    assert 0 < share <= 1
    assert not share.requires_grad
    assert "taken" not in terms
    loss = module.training_step(step.batch, 0)
    assert module.mean_terms()["taken"] == pytest.approx(share.item())
    assert loss.item() == pytest.approx(sum(v for k, v in module.mean_terms().items() if k != "taken"), rel=1e-5)


def test_views_depend_on_row_and_step_alone():
    module, batch = module_and_batch("fixmatch")
    step, rows = Step(module, batch, module.phase(0)), batch.target
    strong = module.strong(step, "target")(rows.inputs)
    assert torch.equal(strong, module.strong(step, "target")(rows.inputs))
    turned = Step(module, batch._replace(target=rows.map(lambda x: x.flip(0))), module.phase(0))
    assert torch.equal(module.strong(turned, "target")(rows.inputs.flip(0)).flip(0), strong)
    weak, other = (module.weak(step, "target", number)(rows.inputs) for number in (0, 1))
    assert not torch.equal(weak, other)
    assert (weak - rows.inputs).std().item() == pytest.approx(module.config.weak_noise, rel=0.1)
    assert (strong == 0).double().mean().item() == pytest.approx(module.config.strong_dropout, abs=0.03)


def test_several_views_in_one_batch_are_those_of_a_norm_over_all():
    module, batch = module_and_batch("adamatch")
    module.encoder = torch.nn.BatchNorm1d(batch.source.inputs.shape[1])
    module.head = torch.nn.Identity()
    step = Step(module, batch, module.phase(0))
    source, target = step.views_in_one(("source", lambda x: x), ("target", lambda x: x + 1))
    both = torch.cat([batch.source.inputs, batch.target.inputs + 1])
    expected = torch.nn.BatchNorm1d(both.shape[1])(both)
    torch.testing.assert_close(torch.cat([source.features, target.features]), expected)
    assert torch.equal(source.index, batch.source.index)
    assert torch.equal(target.label, batch.target.label)


def test_the_teacher_is_the_average_of_the_student_and_predicts():
    module, step, _ = step_of("mean_teacher")
    name = "head.weight"
    wanted, weights = None, torch.randn(3, *module.head.weight.shape, generator=torch.Generator().manual_seed(0))
    for number, weight in enumerate(weights):
        with torch.no_grad():
            module.head.weight.copy_(weight)
        module.after_step(step)
        keep = min(module.config.decay, 1 - 1 / (number + 1))
        wanted = weight if wanted is None else keep * wanted + (1 - keep) * weight
        torch.testing.assert_close(module.teacher.values()[name], wanted)
    student = values_of(module.head)["weight"]
    module.eval()
    features, logits = module(step.batch.target.inputs)
    torch.testing.assert_close(logits, features @ wanted.T + module.teacher.values()["head.bias"])
    assert not torch.equal(student, wanted)


def test_class_balanced_thresholds_are_renewed_once_per_epoch(monkeypatch):
    module, step, _ = step_of("cbst")
    module.after_step(step)
    seen = module.memory.probability[step.target.index]
    torch.testing.assert_close(seen, step.target.logits.detach().softmax(dim=1))
    assert (module.memory.thresholds == 0).all()
    monkeypatch.setattr(type(module), "current_epoch", 1)
    module.after_step(step)
    known = module.memory.probability[module.memory.probability.sum(dim=1) > 0]
    torch.testing.assert_close(module.memory.thresholds, class_thresholds(known, module.config.portion))
    first = module.memory.thresholds.clone()
    module.memory.probability.fill_(0.5)
    module.after_step(step)
    assert torch.equal(module.memory.thresholds, first)


def test_the_memory_of_neighbours_holds_the_latest_features_of_the_batch():
    module, step, _ = step_of("atdoc")
    module.after_step(step)
    rows, memory = step.target, module.memory
    held = memory.features[rows.index]
    torch.testing.assert_close(held, torch.nn.functional.normalize(rows.features.detach(), dim=1))
    untouched = torch.ones(len(memory.scores), dtype=torch.bool)
    untouched[rows.index] = False
    assert (memory.scores[untouched] == 1 / module.classes).all()
    assert (memory.features[untouched] == 0).all()
