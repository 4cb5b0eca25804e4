"""What every method that learns preferences promises: the contracts of the other methods, on two simulated shops."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from tests.contracts.chosen import chosen
from tests.contracts.killed import assert_resumed_equals_uninterrupted
from tl_research.config import compose, run_id
from tl_research.errors import ConfigError
from tl_research.evaluation.measure import predict
from tl_research.interactions.catalog import simulated_shops
from tl_research.interactions.module import InteractionModule
from tl_research.interactions.ranks import full_ranks
from tl_research.interactions.splits import leave_last_out
from tl_research.interactions.task import split_task
from tl_research.methods.build import build_method
from tl_research.methods.fitted_recommender import FittedRecommending
from tl_research.methods.recommending import Recommending
from tl_research.methods.step import Step
from tl_research.registry import DATASETS, METHODS
from tl_research.runs.experiment import run
from tl_research.runs.predictor import Predictor
from tl_research.storage.checkpoints import load_model_file

ALL = [entry.name for entry in METHODS.entries() if entry.targets == ("preference",)]
FITTED = [name for name in ALL if issubclass(METHODS.get(name).target, FittedRecommending)]
TRAINED = [name for name in ALL if name not in FITTED]
#: Methods whose rows are each other's negatives (tests/recommenders/test_content.py has two processes of them).
IN_BATCH = {"two_tower"}
#: What is short enough for tests and trains the same parts.
SHORTER = {"sasrec": ("method.length=6",)}
SMALL = {"name": "simulated_shops", "n_users": 120, "n_items": 60, "batch_size": 256}


def config_of(method: str, output="unused", *overrides: str, **data) -> DictConfig:
    tree = {
        "data": SMALL | {"sources": ["old"], "target": "new"} | data,
        "method": {"name": method},
        "optimizer": {"lr": 0.01},
        "trainer": {"max_epochs": 4, "accelerator": "cpu", "checkpoint_every_seconds": None},
        "wandb": {"mode": "disabled"},
    }
    return compose(tree, [*METHODS.get(method).problem, *SHORTER.get(method, ()), f"output={output}", *overrides])


def data_of(config: DictConfig) -> InteractionModule:
    data = InteractionModule(
        OmegaConf.to_object(config.data), seed=config.seed, reads=METHODS.get(config.method.name).target.reads
    )
    data.setup()
    return data


def prepared(config: DictConfig) -> tuple[Recommending, InteractionModule]:
    data = data_of(config)
    torch.manual_seed(config.seed)
    module = build_method(config, data.spec, data.outcome)
    module.prepare(data.sides["source"], data.sides["target"], data.sides["target_labeled"])
    return module, data


def first_step(module: Recommending, data: InteractionModule, epoch: int) -> Step:
    """The first batch, in the phase of an epoch."""
    phase = module.phase(epoch)
    module._enter(phase)
    return Step(module, next(iter(data.train_dataloader())), phase)


def epochs_of_phases(module: Recommending) -> list[int]:
    """The first epoch of each phase."""
    return sorted({module.phase(epoch): epoch for epoch in reversed(range(module.epochs))}.values())


@pytest.mark.parametrize("method", ALL)
def test_config_round_trip_and_typos(method):
    config = config_of(method)
    again = compose(OmegaConf.to_container(config))
    assert (again, run_id(again)) == (config, run_id(config))
    field = [*METHODS.get(method).config.__dataclass_fields__][-1]
    with pytest.raises(ConfigError, match=rf"method\.{field}_: unknown key; did you mean '{field}'"):
        config_of(method, "unused", f"method.{field}_=1")


@pytest.mark.parametrize("method", ALL)
def test_labels_are_refused(method):
    words = ["data.name=simulated_market", "data.setting=supervised", f"method.name={method}"]
    with pytest.raises(ConfigError, match=rf"^method\.name: '{method}' takes a label of kind preference"):
        compose({}, words)
    with pytest.raises(ConfigError, match=r"^method\.name: 'target_only' takes a label of kind class or regression"):
        compose({"data": SMALL | {"sources": ["old"], "target": "new"}}, ["method.name=target_only"])


@pytest.mark.parametrize("method", TRAINED)
def test_the_gradient_reaches_every_parameter(method):
    """In every phase each parameter that is not held still; over the phases all."""
    module, data = prepared(config_of(method, "unused", "data.batch_size=100000"))
    reached = set()
    for epoch in epochs_of_phases(module):
        for _ in range(2):
            module.zero_grad()
            sum(module.loss_terms(first_step(module, data, epoch)).values()).backward()
            moved = {name: parameter for name, parameter in module.named_parameters() if parameter.grad is not None}
            for name, parameter in moved.items():
                assert parameter.grad.abs().sum() > 0, name
            with torch.no_grad():
                for parameter in moved.values():
                    parameter.sub_(0.01 * parameter.grad)
            reached |= moved.keys()
    assert reached == {name for name, _ in module.named_parameters()}


def with_other_held_out_rows(monkeypatch) -> None:
    """The same shops, but that what validates and tests are other items and, of cold users, other users' rows."""
    load = DATASETS.get("simulated_shops").target

    def changed(config, seed):
        loaded = load(config, seed)
        task = loaded.task
        random = np.random.default_rng(1)
        for log in (task.val, task.test):
            object.__setattr__(log, "item", log.items - 1 - random.integers(0, 10, len(log)))
        return loaded

    monkeypatch.setattr(DATASETS, "_entries", dict(DATASETS._entries))
    DATASETS._entries["simulated_shops"] = replace(DATASETS.get("simulated_shops"), target=changed)


def items_that_test(config: DictConfig) -> torch.Tensor:
    return data_of(config).release_evaluation()["target_test"].inputs["item"]


@pytest.mark.parametrize(
    ("method", "cold"), [*((name, "false") for name in ALL), *((name, "true") for name in chosen(ALL))]
)
def test_held_out_rows_change_no_weight(method, cold, tmp_path, monkeypatch):
    words = ("trainer.max_epochs=2", "selection.rule=last", f"data.cold={cold}")
    configs = [config_of(method, tmp_path / name, *words) for name in "ab"]
    run(configs[0])
    items = items_that_test(configs[0])
    with_other_held_out_rows(monkeypatch)
    record = run(configs[1])
    assert not torch.equal(items, items_that_test(configs[1]))
    one, other = (load_model_file(tmp_path / name / record.run_id)["model"] for name in "ab")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("method", chosen(ALL))
def test_a_loaded_run_ranks_as_it_was_measured(method, tmp_path):
    record = run(config_of(method, tmp_path))
    data = data_of(config_of(method))
    test = data.release_evaluation()["target_test"]
    module = Predictor.load(tmp_path / record.run_id).module
    _, outputs = predict(module, test.inputs)
    metrics = data.outcome.metrics(outputs, test.label)
    chosen = record.metrics[record.selection_rule]
    assert {f"target_test/{name}": value for name, value in metrics.items()}.items() <= chosen.items()
    old, new = simulated_shops.draw(data.config, 0)
    # The ranks of the room `interactions`, of the logs and not of buffers.
    task = split_task(leave_last_out(new, seed=0), new, (old,))
    expected = full_ranks(
        lambda codes: module.score_catalogue(torch.from_numpy(codes)).detach().numpy().copy(),
        task.test,
        task.train.matrix(),
        module.purchases.catalogue.numpy(),
    )
    order = np.lexsort((test.inputs["item"].numpy(), test.inputs["user"].numpy()))
    assert np.array_equal(expected.rank, outputs[order, 0].numpy())


@pytest.mark.parametrize("method", chosen(ALL))
def test_it_beats_chance(method, tmp_path):
    record = run(config_of(method, tmp_path, "trainer.max_epochs=8", "optimizer.lr=0.02", n_users=300, kinship=1.0))
    assert record.metrics[record.selection_rule]["target_test/ndcg10"] > 1.2 * chance(60, 10), method


def chance(items: int, k: int) -> float:
    """NDCG@K of one held-out item at a random place."""
    return sum(1 / math.log2(1 + rank) for rank in range(1, k + 1)) / items


# What lazy_adam keeps is the same for all methods that read rows of a table.
@pytest.mark.parametrize(
    ("method", "optimizer"),
    [*((name, "adam") for name in chosen(TRAINED)), ("bpr_mf", "lazy_adam"), ("emcdr", "lazy_adam")],
)
def test_killed_and_resumed_equals_uninterrupted(method, optimizer, tmp_path, monkeypatch):
    words = ("trainer.checkpoint_every_n_steps=6", "selection.rule=last", f"optimizer.name={optimizer}")
    assert_resumed_equals_uninterrupted(
        *(config_of(method, tmp_path / name, *words) for name in ("whole", "killed")), monkeypatch, most=40
    )


@pytest.mark.parametrize("method", chosen(TRAINED))
def test_finite_under_bf16(method, tmp_path):
    full = run(config_of(method, tmp_path, "trainer.max_epochs=2"))
    mixed = run(config_of(method, tmp_path, "trainer.max_epochs=2", "trainer.precision=bf16-mixed"))
    terms = [key for key in full.metrics["last"] if key.startswith("train/")]
    assert terms
    for key in terms:
        assert mixed.metrics["last"][key] == pytest.approx(full.metrics["last"][key], rel=0.1, abs=0.02), key


@pytest.mark.parametrize("method", [name for name in TRAINED if name not in IN_BATCH])
def test_the_halves_of_a_batch_have_the_gradient_of_the_whole(method):
    """Two processes average the gradients of their rows: what is drawn for a row must not depend on its neighbours."""

    def gradient(part: slice, epoch: int) -> dict[str, torch.Tensor]:
        module, data = prepared(config_of(method, "unused", "data.batch_size=128"))
        step = first_step(module, data, epoch)
        rows = [side and side.map(lambda tensor: tensor[part]) for side in step.batch]
        sum(module.loss_terms(Step(module, type(step.batch)(*rows), step.phase)).values()).backward()
        return {name: parameter.grad for name, parameter in module.named_parameters() if parameter.grad is not None}

    module, _ = prepared(config_of(method))
    for epoch in epochs_of_phases(module):
        whole, first, second = (gradient(part, epoch) for part in (slice(0, 80), slice(0, 40), slice(40, 80)))
        assert whole
        for name, value in whole.items():
            torch.testing.assert_close((first[name] + second[name]) / 2, value, rtol=1e-4, atol=1e-7, msg=name)


def test_sparse_gradients_want_one_process_and_no_clipping():
    for word, key in (("trainer.devices=2", "optimizer.name"), ("trainer.gradient_clip_val=1", "optimizer.name")):
        with pytest.raises(ConfigError, match=rf"^{key}: lazy_adam "):
            config_of("bpr_mf", "unused", "optimizer.name=lazy_adam", word)
