"""`vrex` has the gradient of its formula; `mme` pulls head and encoder apart."""

import torch

from tests.contracts.problem import data_of, method_config
from tl_research.methods.base import AdaptationModule
from tl_research.methods.build import build_method
from tl_research.methods.step import Step

#: Few enough that the batch is not learnt by heart, where all risks are 0.
STEPS = 40
SOURCES = "data.sources=[old_market,third_market]"


def made(method: str, *words: str):
    config = method_config(method, "unused", "data.n_source=200", "data.n_target=200", *words)
    data = data_of(config, frozenset(("source", "target", "target_labeled")))
    torch.manual_seed(0)
    module = build_method(config, data.spec, data.outcome)
    module.prepare(data.sides["source"], data.sides["target"], data.sides.get("target_labeled"))
    return module, next(iter(data.train_dataloader()))


def gradients(module: AdaptationModule, loss: torch.Tensor) -> list[torch.Tensor]:
    return [*torch.autograd.grad(loss, [*module.parameters()])]


def test_the_gradient_of_vrex_is_that_of_mean_and_variance_of_the_risks(monkeypatch):
    monkeypatch.setattr(AdaptationModule, "progress", 0.5)
    module, batch = made("vrex", SOURCES)
    step = Step(module, batch, module.phase(0))
    found = gradients(module, module.loss_terms(step)["source_task"])
    rows = module.encode(batch.source)
    losses = module.row_losses(rows)
    risks = torch.stack([losses[rows.domain == domain].mean() for domain in (0, 1)])
    expected = gradients(module, risks.mean() + 10.0 * risks.var(unbiased=False))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_vrex_makes_the_risks_alike():
    gaps = []
    for weight in ("0", "10"):
        module, batch = made("vrex", SOURCES, f"method.weight={weight}", "method.warm_up=0", "data.noise=1.5")
        optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
        for _ in range(STEPS):
            optimizer.zero_grad()
            module.loss_terms(Step(module, batch, module.phase(0)))["source_task"].backward()
            optimizer.step()
        losses = module.row_losses(rows := module.encode(batch.source)).detach()
        gaps.append(abs(losses[rows.domain == 0].mean() - losses[rows.domain == 1].mean()))
    assert gaps[1] < 0.5 * gaps[0]


def test_one_source_domain_is_said():
    module, _ = made("vrex")
    assert "one source domain only" in module.facts["warning"]


def test_mme_moves_head_and_encoder_in_opposite_directions():
    module, batch = made("mme")
    step = Step(module, batch, module.phase(0))
    sum(module.terms(step).values()).backward()
    rows = module.encode(batch.target)
    entropy = torch.distributions.Categorical(logits=rows.logits).entropy().mean()
    weight = module.config.weight
    for part, sign in (("head", -1), ("encoder", 1)):
        parameters = [*module.get_submodule(part).parameters()]
        for parameter, expected in zip(parameters, torch.autograd.grad(entropy, parameters, retain_graph=True)):
            torch.testing.assert_close(parameter.grad, sign * weight * expected, rtol=1e-4, atol=1e-7)
