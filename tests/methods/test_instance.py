"""learn_to_reweight, group_dro, iwan and tradaboost against their papers' formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier
from torch.func import functional_call

from tests.contracts.problem import data_of, method_config, module_and_batch
from tests.two_ranks import run_two_ranks
from tl_research.config import run_id
from tl_research.errors import ConfigError, DataError
from tl_research.heads.tradaboost import TrAdaBoost
from tl_research.losses.adversarial import domain_bce
from tl_research.methods.base import AdaptationModule, Encoded, Step
from tl_research.methods.build import build_method
from tl_research.methods.instance.tradaboost import TrAdaBoostMethod
from tl_research.registry import METHODS
from tl_research.runs.experiment import run

SMALL = ("data.n_source=200", "data.n_target=200")


def made(method: str, *overrides: str):
    """A method that has been prepared, and its data."""
    config = method_config(method, "unused", *SMALL, *overrides)
    data = data_of(config, METHODS.get(method).target.reads)
    torch.manual_seed(0)
    module = build_method(config, data.spec, data.outcome)
    module.prepare(data.sides["source"], data.sides["target"], data.sides.get("target_labeled"))
    return module, data


# learn_to_reweight


def virtual_step_gradient(module, batch, lr=0.1) -> torch.Tensor:
    """-dL_T/d epsilon by the paper's algorithm as it is written: a step that is taken, then differentiated."""
    parameters = dict(module.named_parameters())
    epsilon = torch.zeros(batch.source.size, dtype=torch.float64, requires_grad=True)
    logits = functional_call(module, parameters, (batch.source.inputs,))[1]
    loss = (epsilon * F.cross_entropy(logits, batch.source.label, reduction="none")).sum()
    gradients = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
    moved = {name: value - lr * g for (name, value), g in zip(parameters.items(), gradients)}
    logits = functional_call(module, moved, (batch.target_labeled.inputs,))[1]
    return -torch.autograd.grad(F.cross_entropy(logits, batch.target_labeled.label), epsilon)[0] / lr


def in_double(method: str, *overrides: str):
    module, data = made(method, *overrides)
    batch = next(iter(data.train_dataloader()))
    double = [None if side is None else side._replace(inputs=side.inputs.double()) for side in batch]
    return module.double(), type(batch)(*double)


def weights_of(module, batch) -> torch.Tensor:
    return module.source_weights(Step(module, batch, module.phase(0)))


def test_reweighting_is_the_papers_virtual_step():
    module, batch = in_double("learn_to_reweight")
    expected = virtual_step_gradient(module, batch).clamp_min(0)
    assert 0 < (expected > 0).sum() < len(expected)
    torch.testing.assert_close(weights_of(module, batch), len(expected) * expected / expected.sum())


def test_the_last_layer_alone_is_all_layers_where_there_is_no_other():
    module, batch = in_double("learn_to_reweight", "encoder={name: identity}", "method.layers=last")
    expected = virtual_step_gradient(module, batch).clamp_min(0)
    torch.testing.assert_close(weights_of(module, batch), len(expected) * expected / expected.sum())


@pytest.mark.parametrize("layers", ["all", "last"])
def test_source_rows_that_all_hurt_have_no_weight(layers):
    module, batch = in_double("learn_to_reweight", f"method.layers={layers}", "method.train_on_target=false")
    # Source rows that are the target's, with every label turned around and a model that is right: all of them hurt.
    rows = batch.target_labeled
    batch = batch._replace(source=rows._replace(label=1 - rows.label))
    with torch.no_grad():
        module.head.weight.zero_()
        module.head.bias.zero_()
    if layers == "all":  # with a head of 0 only the bias and the head's own weights have a gradient
        assert (weights_of(module, batch) >= 0).all()
    one = batch._replace(
        source=batch.source.map(lambda tensor: tensor[:1]), target_labeled=rows.map(lambda tensor: tensor[:1])
    )
    assert weights_of(module, one).tolist() == [0.0]
    terms = module.loss_terms(Step(module, one, module.phase(0)))
    assert terms["source_task"].item() == 0
    assert set(terms) == {"source_task"}


def test_wrong_labels_of_the_source_lose_their_weight():
    module, batch = in_double(
        "learn_to_reweight", "data.measurement_shift=0", "data.setting=supervised", "data.shots=null"
    )
    rows = batch.target_labeled
    wrong = torch.arange(rows.size) % 4 == 0
    noisy = batch._replace(source=rows._replace(label=torch.where(wrong, 1 - rows.label, rows.label)))
    weight = weights_of(module, noisy)
    assert weight[wrong].mean() < 0.5 * weight[~wrong].mean()


def test_compiling_is_refused_where_a_gradient_is_differentiated():
    module, batch = in_double("learn_to_reweight")
    module.encoder._compiled_call_impl = module.encoder._call_impl
    with pytest.raises(ConfigError, match=r"^method\.layers: all .* trainer\.compile"):
        module.loss_terms(Step(module, batch, module.phase(0)))


# group_dro


def encoded(logits, label, domain) -> Encoded:
    logits, label, domain = torch.tensor(logits), torch.tensor(label), torch.tensor(domain)
    return Encoded(logits, logits, label, torch.arange(len(label)), domain)


def step_on(module, rows: Encoded) -> torch.Tensor:
    """The weights of source rows in a step that is taken on them."""
    step = Step(module, None, module.phase(0), encoded={"source": rows})
    weight = module.source_weights(step)
    module.after_step(step)
    return weight


def test_group_weights_by_hand():
    module, data = made("group_dro", "method.step=0.5", "method.adjustment=2")
    counts = torch.bincount(data.sides["source"].label, minlength=2)
    rows = encoded([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]], [0, 0, 1], [0, 0, 0])
    losses = F.cross_entropy(rows.logits, rows.label, reduction="none").double().numpy()
    group = np.array([losses[:2].mean(), losses[2]]) + 2 / np.sqrt(counts.numpy())
    q = 0.5 * np.exp(0.5 * group)
    q /= q.sum()
    weight = step_on(module, rows)
    np.testing.assert_allclose(module.robust.log_q.exp().numpy(), q, rtol=1e-5)
    np.testing.assert_allclose((weight.numpy() * losses).mean(), q[0] * losses[:2].mean() + q[1] * losses[2], rtol=1e-5)
    # A second step goes on from the first; in evaluation mode there is none; an absent group keeps its place.
    module.eval()
    kept = module.robust.log_q.clone()
    module.source_weights(Step(module, None, module.phase(0), encoded={"source": rows}))
    assert torch.equal(module.robust.log_q, kept)
    module.train()
    step_on(module, rows.map(lambda tensor: tensor[:2]))
    q = q * np.exp(0.5 * np.array([group[0], 2 / np.sqrt(counts[1].item())]))
    np.testing.assert_allclose(module.robust.log_q.exp().numpy(), q / q.sum(), rtol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "by", "groups"),
    [
        (["data.sources=[old_market]", "data.target=new_market"], "class", 2),
        (["data.sources=[old_market, third_market]", "data.target=new_market"], "domain", 2),
        (
            ["data.sources=[old_market, third_market]", "data.target=new_market", "method.groups=domain_class"],
            "domain_class",
            4,
        ),
    ],
)
def test_groups_are_domains_or_the_classes_of_one(overrides, by, groups):
    module, data = made("group_dro", *overrides)
    assert module.facts["groups"]["by"] == by
    source = data.sides["source"]
    expected = {"class": source.label, "domain": source.domain, "domain_class": 2 * source.domain + source.label}[by]
    assert module.facts["groups"]["rows"] == torch.bincount(expected, minlength=groups).tolist()


def test_the_worst_group_gets_the_weight():
    module, _ = made("group_dro", "method.step=0.1")
    rows = encoded([[0.0, 3.0], [0.0, 3.0]], [0, 1], [0, 0])
    for _ in range(100):
        step_on(module, rows)
    assert module.robust.log_q.exp()[0] > 0.99


def test_a_group_without_training_rows_has_no_weight():
    module, data = made("group_dro")
    source = data.sides["source"]
    one = source._replace(label=torch.zeros_like(source.label))
    module.prepare(one, data.sides["target"], None)
    assert module.robust.log_q.exp().tolist() == [1, 0]
    assert "one group only" in module.facts["warning"]
    assert torch.isfinite(step_on(module, module.encode(one))).all()
    assert module.robust.log_q.exp().tolist() == [1, 0]


def test_a_group_whose_rows_all_weigh_nothing_has_no_weight(monkeypatch):
    module, data = made("group_dro", "method.weighting.name=density_ratio")
    source = data.sides["source"]

    def prepare(self, source, target, target_labeled):
        self.row_weights.keep(source=(source.label == 1).float())

    monkeypatch.setattr(AdaptationModule, "prepare", prepare)
    module.prepare(source, data.sides["target"], None)
    assert module.robust.log_q.exp().tolist() == [0, 1]
    assert "one group only" in module.facts["warning"]
    weight = step_on(module, module.encode(source))
    assert torch.isfinite(weight).all()
    assert (weight[source.label == 0] == 0).all()


# Both on two processes: the gradient of the weighted source loss is that of one process with the whole batch.


def source_gradients(made_, part: slice) -> list[torch.Tensor]:
    module, batch = made_
    batch = batch._replace(source=batch.source.map(lambda tensor: tensor[part]))
    if batch.target_labeled is not None:
        batch = batch._replace(target_labeled=batch.target_labeled.map(lambda tensor: tensor[part]))
    module.loss_terms(Step(module, batch, module.phase(0)))["source_task"].backward()
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in module.parameters()]


CASES = ("group_dro", "learn_to_reweight")
FIRST = 7


def on_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    ready = {method: module_and_batch(method) for method in CASES}
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    averaged = {}
    for method in CASES:
        gradients = source_gradients(ready[method], slice(0, FIRST) if rank == 0 else slice(FIRST, None))
        for gradient in gradients:
            dist.all_reduce(gradient)
        averaged[method] = [gradient / 2 for gradient in gradients]
    if rank == 0:
        torch.save(averaged, f"{folder}/gradients.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_weigh_the_source_as_one_does(tmp_path):
    run_two_ranks(on_rank, str(tmp_path))
    found = torch.load(tmp_path / "gradients.pt", weights_only=True)
    for method in CASES:
        expected = source_gradients(module_and_batch(method), slice(None))
        assert max(gradient.abs().max() for gradient in expected) > 1e-4
        for one, two in zip(expected, found[method]):
            torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-6)


# iwan


def test_importance_has_mean_one_and_falls_with_the_look_of_the_source():
    module, _ = module_and_batch("iwan")
    logit = torch.tensor([-3.0, 0.0, 3.0], requires_grad=True)
    weight = module.importance(logit)
    assert not weight.requires_grad
    share = 1 - 1 / (1 + np.exp([-3.0, 0.0, 3.0]))  # 1 - D, D the probability of the source
    np.testing.assert_allclose(weight.numpy(), share / share.mean(), rtol=1e-5)
    assert torch.isfinite(module.importance(torch.full((3,), -1e4))).all()


def test_the_weighted_discriminator_loss():
    source, target = torch.tensor([0.3, -1.0]), torch.tensor([0.5])
    weight = torch.tensor([0.5, 1.5])
    expected = (0.5 * math.log1p(math.exp(0.3)) + 1.5 * math.log1p(math.exp(-1.0))) / 2 + math.log1p(math.exp(-0.5))
    assert domain_bce(source, target, source_weight=weight).item() == pytest.approx(expected / 2, rel=1e-6)
    assert domain_bce(source[:, None], target[:, None], source_weight=torch.ones(2)) == domain_bce(source, target)


def test_the_first_discriminator_sends_no_gradient_to_the_encoder(monkeypatch):
    module, batch = module_and_batch("iwan")
    monkeypatch.setattr(type(module), "progress", 0.5)
    terms = module.terms(Step(module, batch, module.phase(0)))
    terms["weigher"].backward()
    assert all(p.grad is None for p in module.encoder.parameters())
    terms["domain"].backward()
    assert all(p.grad is not None for p in module.encoder.parameters())
    assert set(terms) == {"weigher", "domain"}


# tradaboost


@pytest.mark.parametrize("base", ["tree", "logistic", "boosting"])
def test_tradaboost_predicts_as_the_algorithm_over_scikit_learn(base):
    words = [f"method.base={base}", "method.rounds=5", "method.penalty=0.5", "method.smoothing=0"]
    if base == "tree":  # splits that tie, as those of small nodes do, are decided by the last bit
        words += ["method.depth=2", "data.n_source=1500", "data.shots=50"]
    module, data = made("tradaboost", *words)
    source, labeled = data.sides["source"], data.sides["target_labeled"]
    estimator = {
        "tree": DecisionTreeClassifier(max_depth=2, random_state=0),
        "logistic": LogisticRegression(C=2, tol=1e-6, max_iter=1000),
    }.get(base)
    if base == "boosting":
        estimator = module.head.heads[0].estimator(0)
    model = TrAdaBoost(estimator, rounds=5)
    model.fit(
        source.inputs.double().numpy(), source.label.numpy(), labeled.inputs.double().numpy(), labeled.label.numpy()
    )
    rows = data.sides["target"].inputs
    expected = model.predict_proba(rows.double().numpy())
    clear = np.abs(expected[:, 1] - 0.5) > 1e-4
    found = module.eval()(rows)[1].softmax(dim=1).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-3)  # float32 coefficients
    assert (found.argmax(axis=1) == expected.argmax(axis=1))[clear].all()
    facts = module.facts["tradaboost"]
    assert facts["target_error"] == pytest.approx(model.errors_.tolist(), abs=1e-3)
    assert facts["rounds_with_a_voice"] == 5
    assert len(module.head.heads) == 3


@pytest.mark.parametrize("base", ["tree", "logistic"])
def test_tradaboost_unlearns_source_rows_of_a_wrong_label(base, monkeypatch):
    fitted, rounds = [], TrAdaBoostMethod._rounds

    def kept(self, *arguments):
        fitted.append(rounds(self, *arguments))
        return fitted[-1]

    monkeypatch.setattr(TrAdaBoostMethod, "_rounds", kept)
    words = ("data.measurement_shift=0", "data.setting=supervised", "data.shots=null", f"method.base={base}")
    module, data = made("tradaboost", *words, "method.rounds=10")
    source = data.sides["source"]
    wrong = np.arange(source.size) % 4 == 0
    flipped = source._replace(label=torch.where(torch.from_numpy(wrong), 1 - source.label, source.label))
    module.prepare(flipped, data.sides["target"], data.sides["target_labeled"])
    begin, end = fitted[-1].source_weights_[0], fitted[-1].source_weights_[-1]
    assert begin[wrong].mean() == pytest.approx(begin[~wrong].mean())
    assert end[wrong].mean() < 0.5 * end[~wrong].mean()


def test_a_source_that_only_contradicts_is_left_out_with_a_remark(tmp_path):
    module, data = made("tradaboost", "data.measurement_shift=0", "method.at_chance=stop")
    source = data.sides["source"]
    assert "remarks" not in module.facts
    module.prepare(source._replace(label=1 - source.label), data.sides["target"], data.sides["target_labeled"])
    assert "no round of 1 was better than chance on the 16 labelled target rows" in module.facts["remarks"][0]
    assert len(module.head.heads) == 1
    labeled = data.sides["target_labeled"]
    assert (module.eval()(labeled.inputs)[1].argmax(dim=1) == labeled.label).double().mean() > 0.9


def test_what_a_method_remarks_is_in_the_record(tmp_path, monkeypatch):
    def always_at_chance(self, fitted, rows, label):
        return np.ones(len(label))

    monkeypatch.setattr(TrAdaBoost, "_loss", always_at_chance)
    record = run(method_config("tradaboost", tmp_path, *SMALL, "method.rounds=3"))
    assert "tradaboost: no round of 3" in record.data["remarks"][-1]


def test_a_model_of_hard_votes_is_refused_and_another_number_of_heads_is_not():
    module, data = made("tradaboost", "method.rounds=9")
    state = module.state_dict()
    again = build_method(method_config("tradaboost", "unused", *SMALL), data.spec, data.outcome)
    again.load_state_dict(state)
    rows = data.sides["target"].inputs
    assert len(again.head.heads) == 5
    assert torch.equal(again(rows)[1], module(rows)[1])
    old = {("head.voice" if name == "head.share" else name): value for name, value in state.items()}
    with pytest.raises(DataError, match="counted hard votes; fit it anew"):
        again.load_state_dict(old)


def test_options_that_change_what_is_computed_are_part_of_the_run_id():
    ids = {
        run_id(method_config("tradaboost", "unused", *words))
        for words in ([], ["method.smoothing=5"], ["method.first_weights=domains"], ["method.at_chance=stop"])
    }
    assert len(ids) == 4


def test_a_class_missing_in_the_source_is_learned_from_the_target():
    module, data = made("tradaboost", "method.rounds=4")
    source = data.sides["source"]
    one = source.rows((source.label == 0).nonzero().squeeze(1))
    module.prepare(one, data.sides["target"], data.sides["target_labeled"])
    assert (module(data.sides["target"].inputs)[1].argmax(dim=1) == 1).any()
    with pytest.raises(DataError, match="no target row with a label"):
        module.prepare(source, data.sides["target"], None)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method.base=logistik", r"method\.base: got 'logistik'; did you mean 'logistic'"),
        ("method.base=mlp", r"method\.base"),
        ("method.first_weights=domain", r"method\.first_weights: got 'domain'; did you mean 'domains'"),
        ("method.at_chance=stopp", r"method\.at_chance: got 'stopp'; did you mean 'stop'"),
        ("method={name: tradaboost, depth: 0}", r"method\.depth: got 0, wants 1 or more"),
        ("method={name: tradaboost, smoothing: -1}", r"method\.smoothing: got -1.*, wants 0 or more"),
        ("method={name: tradaboost_r2, at_chance: go}", r"method\.at_chance: got 'go'"),
        ("method.rounds=0", r"method\.rounds: got 0, wants at least 1"),
        ("method.leaves=1", None),
        ("method={name: group_dro, groups: clas}", r"method\.groups: got 'clas'; did you mean 'class'"),
        ("method={name: group_dro, step: -1}", r"method\.step: got -1"),
        ("method={name: learn_to_reweight, layers: lst}", r"method\.layers: got 'lst'; did you mean 'last'"),
        ("method={name: iwan, weight: -1}", r"method\.weight: got -1"),
    ],
)
def test_options_out_of_range_are_refused(override, message):
    from tl_research.config import compose

    words = ["data.name=simulated_market", "data.setting=few_shot", "data.shots=10"]
    words += (
        []
        if override.startswith("method={")
        else ["method.name=tradaboost", "method.base=boosting"][: 1 if "base" in override else 2]
    )
    if message is None:
        message = r"method\.leaves: got 1, wants 2 or more"
    with pytest.raises(ConfigError, match=message):
        compose(None, [*words, override])
