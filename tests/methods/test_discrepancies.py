"""Methods of moments, kernels and transport: their terms against loops, what they draw, their gain."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from tests.contracts.chosen import proofs
from tests.contracts.problem import method_config, module_and_batch
from tests.methods.moons import WANTED, median_gain
from tl_research.kernels import bandwidth_ladder
from tl_research.losses.joint_cost import joint_cost
from tl_research.methods.base import AdaptationModule, Encoded, Step
from tl_research.registry import METHODS

#: `mean_discrepancy`, `cmd` and `afn` say in their docstrings why they are not among them.
GAINING = ("deepjdot", "dsan", "homm", "jan", "sinkhorn_divergence", "sliced_wasserstein")
DISTANCES = ("cmd", "homm", "mean_discrepancy", "sinkhorn_divergence", "sliced_wasserstein")


@pytest.mark.slow
@pytest.mark.parametrize("method", proofs(GAINING))
def test_gains_five_points_on_two_moons(method):
    assert median_gain(method) >= WANTED


def side(module: AdaptationModule, rows: int, seed: int, shift: float) -> Encoded:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(rows, module.encoder.out_features, generator=generator, dtype=torch.float64) + shift
    index = torch.arange(rows)
    return Encoded(features, features @ torch.ones_like(features[:2]).T * 0.1, index % 2, index, 0 * index)


def encoded_step(method: str) -> tuple[AdaptationModule, Step]:
    module, _ = module_and_batch(method)
    rows = {"source": side(module, 9, 0, 0.0), "target": side(module, 8, 1, 0.3)}
    rows["target"].logits[:, 0] += rows["target"].features[:, 0]
    return module, Step(module, None, module.phase(0), encoded=rows)


@pytest.mark.parametrize("method", DISTANCES)
def test_following_the_term_brings_the_domains_together(method):
    module, batch = module_and_batch(method)
    optimizer, values = torch.optim.Adam(module.encoder.parameters(), lr=1e-2), []
    for _ in range(30):
        (term,) = module.terms(Step(module, batch, module.phase(0))).values()
        optimizer.zero_grad()
        term.backward()
        optimizer.step()
        values.append(term.item())
    assert values[-1] < 0.5 * values[0]


def test_afn_makes_the_norms_of_both_sides_grow():
    module, batch = module_and_batch("afn")
    optimizer, norms = torch.optim.Adam(module.encoder.parameters(), lr=1e-2), []
    for _ in range(30):
        step = Step(module, batch, module.phase(0))
        optimizer.zero_grad()
        sum(module.terms(step).values()).backward()
        optimizer.step()
        norms.append([rows.features.norm(dim=1).mean().item() for rows in (step.source, step.target)])
    assert all(last > 1.2 * first for first, last in zip(norms[0], norms[-1], strict=True))


@pytest.mark.parametrize(("method", "option"), [("homm", ("entries", 50)), ("sliced_wasserstein", ("directions", 3))])
def test_what_is_drawn_is_a_function_of_seed_and_step(method, option, monkeypatch):
    module, step = encoded_step(method)
    setattr(module.config, *option)
    (first,), (again,) = (module.terms(step).values() for _ in range(2))
    assert torch.equal(first, again)
    module.seed += 1
    (of_seed,) = module.terms(step).values()
    module.seed -= 1
    monkeypatch.setattr(type(module), "global_step", 1)
    (of_step,) = module.terms(step).values()
    assert len({first.item(), of_seed.item(), of_step.item()}) == 3


def statistic(kernel, x_share, y_share, n, m) -> float:
    """Unbiased MMD² of a kernel of row numbers of both sides together, in loops."""

    def within(share, offset):
        pairs = itertools.permutations(range(len(share)), 2)
        total = sum(share[i] * share[j] * kernel(offset + i, offset + j) for i, j in pairs)
        return total / (1 - sum(part**2 for part in share))

    across = sum(x_share[i] * y_share[j] * kernel(i, n + j) for i in range(n) for j in range(m))
    return within(x_share, 0) + within(y_share, n) - 2 * across


def feature_kernel(step: Step):
    x, y = step.source.features, step.target.features
    sigmas, rows = bandwidth_ladder(x, y, count=5).sigmas.tolist(), torch.cat([x, y])
    return lambda i, j: sum(math.exp(-((rows[i] - rows[j]) ** 2).sum() / (2 * sigma**2)) for sigma in sigmas) / 5


def test_jan_is_the_statistic_of_the_product_kernel():
    module, step = encoded_step("jan")
    of_features, n, m = feature_kernel(step), 9, 8
    p = torch.cat([step.source.logits, step.target.logits]).softmax(dim=1)
    expected = statistic(
        lambda i, j: of_features(i, j) * math.exp(-((p[i] - p[j]) ** 2).sum() / 1.68), [1 / n] * n, [1 / m] * m, n, m
    )
    assert module.terms(step)["jmmd"].item() == pytest.approx(5.0 * expected, rel=1e-4)


def test_dsan_is_the_mean_of_the_classes_statistics(monkeypatch):
    monkeypatch.setattr(AdaptationModule, "progress", 0.5)
    module, step = encoded_step("dsan")
    p, values = step.target.logits.softmax(dim=1), []
    for label in (0, 1):
        of_source, of_target = (step.source.label == label).double(), p[:, label]
        shares = [(part / part.sum()).tolist() for part in (of_source, of_target)]
        values.append(statistic(feature_kernel(step), *shares, 9, 8))
    ramp = 2 / (1 + math.exp(-5)) - 1
    assert module.terms(step)["lmmd"].item() == pytest.approx(2.5 * ramp * sum(values) / 2, rel=1e-4)


def test_deepjdots_cost_is_its_definition_and_its_plan_the_cheapest():
    module, step = encoded_step("deepjdot")
    rows = step.source, step.target.map(lambda tensor: torch.cat([tensor, tensor[:1]]))
    x, y = rows[0], rows[1]
    cost = joint_cost(x.features, x.label, y.features, y.logits, feature_weight=0.5, label_weight=2.0)
    for i, j in itertools.product(range(9), range(9)):
        label = -math.log(y.logits[j].softmax(dim=0)[x.label[i]])
        expected = 0.5 * ((x.features[i] - y.features[j]) ** 2).sum().item() + 2 * label
        assert cost[i, j].item() == pytest.approx(expected)
    module.config.feature_weight, module.config.label_weight = 0.5, 2.0
    step = Step(module, None, module.phase(0), encoded={"source": x, "target": y})
    cheapest = cost.numpy()[linear_sum_assignment(cost.numpy())].mean()
    assert module.terms(step)["transport"].item() == pytest.approx(cheapest)
    with pytest.raises(ValueError, match="8 labels"):
        joint_cost(x.features, x.label[:8], y.features, y.logits, feature_weight=1, label_weight=1)


@pytest.mark.parametrize("method", ["deepjdot", "dsan", "jan"])
def test_methods_of_classes_refuse_numbers(method):
    assert METHODS.get(method).targets == ("class",)


def test_options_out_of_bounds_are_refused():
    for method, word in (("cmd", "moments=0"), ("homm", "entries=0"), ("sinkhorn_divergence", "regularization=0")):
        with pytest.raises(ValueError, match=rf"method\.{word.split('=')[0]}"):
            method_config(method, "unused", f"method.{word}")
