"""`can` clusters the target once per epoch, and it, `irm` and `rsd` bring down what they say."""

import pytest
import torch

from tests.contracts.problem import data_of, method_config, module_and_batch
from tl_research.losses.subspaces import subspace_distance
from tl_research.methods.base import AdaptationModule
from tl_research.methods.build import build_method
from tl_research.methods.step import Step


def test_can_clusters_when_an_epoch_has_begun(monkeypatch):
    monkeypatch.setattr(AdaptationModule, "progress", 0.5)
    module, batch = module_and_batch("can")
    step = Step(module, batch, module.phase(0))
    module.terms(step)
    module.after_step(step)
    rows = step.target
    torch.testing.assert_close(module.memory.features[rows.index], rows.features.detach())
    assert (module.memory.label == -1).all()
    monkeypatch.setattr(type(module), "current_epoch", 1)
    module.config.furthest = 1.0
    module.after_step(step)
    clustered = module.memory.label[rows.index]
    assert set(clustered.tolist()) == {0, 1}
    assert (module.memory.label >= 0).sum() == len(rows.index)
    terms = module.terms(Step(module, batch, module.phase(0)))
    assert terms["within"] > 0 > terms["between"]


def made(method: str, *words: str):
    config = method_config(method, "unused", "data.n_source=200", "data.n_target=200", *words)
    data = data_of(config, frozenset(("source", "target")))
    torch.manual_seed(0)
    module = build_method(config, data.spec, data.outcome)
    return module, next(iter(data.train_dataloader()))


def test_the_penalty_of_irm_is_the_slope_in_every_domain(monkeypatch):
    monkeypatch.setattr(AdaptationModule, "progress", 0.5)
    module, batch = made("irm", "data.sources=[old_market,third_market]")
    found = module.terms(Step(module, batch, module.phase(0)))["irm"]
    rows = module.encode(batch.source)
    logits, p = rows.logits.detach().double(), rows.logits.detach().double().softmax(1)
    # d CE(w z) / dw at w = 1 is (p - y) z
    slope = ((p - torch.nn.functional.one_hot(rows.label, 2)) * logits).sum(1)
    squares = [slope[rows.domain == domain].mean().square() for domain in (0, 1)]
    assert found.item() == pytest.approx(100 * float(sum(squares)) / 2, rel=1e-4)


def test_irm_takes_the_slope_away(monkeypatch):
    monkeypatch.setattr(AdaptationModule, "progress", 0.5)
    slopes = []
    for weight in (0.0, 100.0):
        module, batch = made(
            "irm", "data.sources=[old_market,third_market]", f"method.weight={weight}", "data.noise=1.5"
        )
        optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
        for _ in range(60):
            optimizer.zero_grad()
            sum(module.loss_terms(Step(module, batch, module.phase(0))).values()).backward()
            optimizer.step()
        module.config.weight = 1.0
        slopes.append(abs(module.terms(Step(module, batch, module.phase(0)))["irm"].item()))
    assert slopes[1] < 0.5 * slopes[0]


def test_can_brings_classes_together(monkeypatch):
    monkeypatch.setattr(AdaptationModule, "progress", 0.5)
    left = []
    for weight in (0.0, 3.0):
        module, batch = made("can", f"method.weight={weight}")
        module.prepare(batch.source, batch.target, None)
        # Labels that are half wrong: the source's loss alone does not bring these classes together.
        module.memory.label[batch.target.index] = batch.target.index % 2
        module.memory.epoch.fill_(1)
        optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
        for _ in range(40):
            optimizer.zero_grad()
            sum(module.loss_terms(Step(module, batch, module.phase(0))).values()).backward()
            optimizer.step()
        module.config.weight = 1.0
        left.append(module.terms(Step(module, batch, module.phase(0)))["within"].item())
    assert left[1] < 0.8 * left[0]


def test_rsd_brings_subspaces_together():
    distances = []
    for weight in (0.0, 1.0):
        module, batch = made("rsd", f"method.weight={weight}", "encoder.hidden=[128]", "data.batch_size=16")
        optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
        for _ in range(40):
            optimizer.zero_grad()
            sum(module.loss_terms(Step(module, batch, module.phase(0))).values()).backward()
            optimizer.step()
        step = Step(module, batch, module.phase(0))
        distances.append(subspace_distance(step.source.features.double(), step.target.features.double()).item())
    assert distances[1] < 0.8 * distances[0]
