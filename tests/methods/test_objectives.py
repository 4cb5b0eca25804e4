"""Games of several objectives, and what a run counts while they are played; a method of two tasks, one of two views."""

from __future__ import annotations

import inspect
import itertools
import math
from contextlib import nullcontext
from functools import partial

import lightning as L
import pytest
import torch

from tests.contracts.problem import data_of, method_config
from tests.pair import assert_resumed_alike, config_of, resumed, trained
from tests.toy_methods import (
    GAME_WORDS,
    TOYS,
    Game,
    TwoTasks,
    TwoViews,
    on_two_processes,
    project_conflicts,
    registered,
)
from tl_research.errors import NonFiniteLoss
from tl_research.evaluation.throughput import StepTimer
from tl_research.losses.adversarial import domain_bce
from tl_research.methods.base import AdaptationModule
from tl_research.methods.build import build_method
from tl_research.methods.objectives import Objective
from tl_research.parallel import launch
from tl_research.runs.experiment import run
from tl_research.runs.record import read_history
from tl_research.training.trainer import make_trainer, quiet_lightning

#: 4 batches of 16 rows per side and epoch, all of one size.
SMALL = ("data.n_source=95", "data.n_target=95", "data.batch_size=16", "trainer.max_epochs=2", "trainer.threads=1")


@pytest.fixture(autouse=True)
def toys():
    with registered():
        yield


class Look(L.Callback):
    """Notes what a run counts behind every batch."""

    def __init__(self):
        self.rows = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self.rows.append((trainer.global_step, module.progress, rate))


def fitted(method: str, *words: str):
    """A method trained without the rest of a run, the same untrained, its data, and what was counted."""
    quiet_lightning()
    config = method_config(method, "unused", *SMALL, *words)
    made = []
    for _ in range(2):
        torch.manual_seed(0)
        data = data_of(config, AdaptationModule.reads)
        made.append(build_method(config, data.spec, data.outcome))
    look = Look()
    make_trainer(config, [look], None, None).fit(made[0], data_of(config, AdaptationModule.reads))
    return *made, data, look.rows


def by_hand(module: Game, data, *, every: int, turn: int, clip: float, context=nullcontext) -> dict[str, float]:
    """The game as one would write it without the package: two optimisers, cosine schedule; means of the last epoch."""
    loader = data.train_dataloader()
    critic, others = list(module.critic.parameters()), [*module.encoder.parameters(), *module.head.parameters()]
    optimizers = [torch.optim.Adam(parameters, lr=0.01) for parameters in (critic, others)]
    turns = []
    for _ in range(2):
        batches = list(loader)
        turns += [batches[first : first + turn] for first in range(0, len(batches), turn)]
    terms = {}
    for number, batches in enumerate(turns):
        terms = {} if number == len(turns) // 2 else terms
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = 0.01 * 0.5 * (1 + math.cos(math.pi * number / len(turns)))
        for which in (*every * [0], 1):
            module.zero_grad()
            for batch in batches:
                with context():
                    source, target = module.encode(batch.source), module.encode(batch.target)
                domain = domain_bce(module.critic(source.features), module.critic(target.features))
                found = {"critic.domain": domain}
                if which == 1:
                    found = {"features.source_task": module.task_loss(source), "features.fooled": -0.5 * domain}
                (sum(found.values()) / len(batches)).backward()
                for name, value in found.items():
                    share = (1 if which else 1 / every) / len(loader)
                    terms[name] = terms.get(name, 0.0) + share * float(value.detach())
            torch.nn.utils.clip_grad_norm_((critic, others)[which], clip)
            optimizers[which].step()
    return terms


@pytest.mark.parametrize(
    ("every", "turn", "precision"), [(1, 1, "32-true"), (3, 1, "32-true"), (3, 2, "32-true"), (3, 2, "bf16-mixed")]
)
def test_a_game_is_the_loop_that_one_would_write(every, turn, precision):
    """One critic step or three per step of the features; schedule, clipping, accumulation, precision, means of terms.

    A turn counts as one step, whatever the optimiser steps in it.
    """
    words = (
        *GAME_WORDS,
        f"method.critic_steps={every}",
        f"trainer.accumulate_grad_batches={turn}",
        f"trainer.precision={precision}",
    )
    module, other, data, rows = fitted("toy_game", *words)
    exact = precision == "32-true"
    context = nullcontext if exact else partial(torch.autocast, "cpu", dtype=torch.bfloat16)
    means = by_hand(other, data, every=every, turn=turn, clip=0.5, context=context)
    for (name, value), expected in zip(module.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6 if exact else 3e-4, msg=name)
    assert module.mean_terms() == pytest.approx(means, rel=1e-4)
    per_epoch = len(data.train_dataloader())
    turns = 2 * math.ceil(per_epoch / turn)
    assert module.steps.tolist() == [every * turns, turns]
    last = [batch % turn == turn - 1 or batch == per_epoch - 1 for batch in range(per_epoch)]
    done = list(itertools.accumulate(2 * last))
    assert [row[0] for row in rows] == done
    assert [row[1] for row in rows] == [number / turns for number in done]
    rates = [0.01 * 0.5 * (1 + math.cos(math.pi * number / turns)) for number in done]
    assert [row[2] for row in rows] == pytest.approx(rates)


def test_weights_shared_out_among_ranks_are_refused():
    assert Game.needs_whole_weights() == "has objectives of its own"
    assert TwoViews.needs_whole_weights() is None


def test_no_other_part_has_a_gradient_or_moves():
    module, start, *_ = fitted("toy_game", "method.critic_steps=2", "optimizer.lr=1e-3", "trainer.max_steps=1")
    assert module.steps.tolist() == [2, 1]
    module, start, *_ = fitted("toy_game", "method.weight=0", "optimizer={name: sgd, lr: 0.1, weight_decay: 0.1}")
    alone, *_ = fitted("source_only", "optimizer={name: sgd, lr: 0.1, weight_decay: 0.1}")
    # The game leaves the features alone where it weighs nothing, weight decay included, which acts once per own step.
    for name, value in alone.named_parameters():
        torch.testing.assert_close(value, module.get_parameter(name), rtol=1e-5, atol=1e-7)
    assert not torch.equal(module.critic.weight, start.critic.weight)


def test_a_loss_that_is_no_number_ends_the_run_and_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Game, "fool", lambda self, step: {"fooled": self.tell_apart(step)["domain"] * math.nan})
    with pytest.raises(NonFiniteLoss, match=r"'features\.fooled' is nan at step 0"):
        run(method_config("toy_game", tmp_path, *SMALL))


def test_record_history_and_throughput_count_turns(tmp_path, monkeypatch):
    timed = []
    monkeypatch.setattr(StepTimer, "stop", lambda self, samples: timed.append(samples))
    record = run(method_config("toy_game", tmp_path, *SMALL, "data.n_source=950", *GAME_WORDS))
    history = read_history(tmp_path / record.run_id)
    batches = [row["step"] for row in history]
    assert batches[1] == 2 * batches[0] == 2 * math.ceil(record.data["rows"]["source"] / 16)
    assert {"train/critic.domain", "train/features.source_task", "train/features.fooled"} <= set(record.metrics["last"])
    assert len(timed) == batches[1]
    assert sum(timed) >= 2 * record.data["rows"]["source"]


@pytest.mark.slow
def test_killed_and_resumed_is_bit_equal(tmp_path):
    words = (*GAME_WORDS[2:], "trainer.devices=1", "trainer.accumulate_grad_batches=2", "trainer.max_epochs=4")
    assert_resumed_alike(resumed("toy_game", tmp_path, *words))


@pytest.mark.slow
def test_two_processes_play_the_game_of_one(tmp_path):
    found = launch.on_every_device(on_two_processes, (str(tmp_path / "two"),), devices=2)
    assert_resumed_alike(found["resumed"])
    sgd = ("optimizer={name: sgd, lr: 0.05}", *GAME_WORDS[2:])
    for name, config in (
        ("game", config_of("toy_game", tmp_path, *sgd, ranks=1)),
        ("two views", config_of("toy_two_views", tmp_path, "method.noise=0", ranks=1)),
    ):
        state, differs, record = found[name]
        assert differs == []
        assert record.environment["processes"] == 2
        alone, _, of_one = trained(config)
        for key, value in alone.items():
            torch.testing.assert_close(state[key], value, rtol=1e-4, atol=2e-6, msg=key)
        for key, value in of_one.metrics["last"].items():
            assert record.metrics["last"][key] == pytest.approx(value, rel=1e-3, abs=1e-4), key


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        ([Objective("a", ("head",), dict), Objective("a", ("encoder",), dict)], r"names a, a, wants every name once"),
        ([Objective("a", ("critc",), dict)], r"'a' trains critc, wants submodules"),
        ([Objective("a", (), dict)], r"'a' trains nothing, wants submodules"),
        ([], r"names nothing"),
    ],
)
def test_wrong_objectives_are_refused(objectives, message, monkeypatch):
    monkeypatch.setattr(Game, "objectives", lambda self: objectives)
    with pytest.raises(ValueError, match=message):
        fitted("toy_game")
    with pytest.raises(ValueError, match="every: got 0"):
        Objective("a", ("head",), dict, every=0)


def test_manual_optimisation_is_refused(monkeypatch):
    monkeypatch.setattr(TwoViews, "build", lambda self: setattr(self, "automatic_optimization", False))
    with pytest.raises(TypeError, match=r"^TwoViews: automatic_optimization = False .* from `objectives` instead"):
        fitted("toy_two_views", "trainer.gradient_clip_val=1")


def test_gradients_of_two_tasks_are_combined_term_by_term():
    """Without a conflict the combined gradient is the sum; with one, neither task's first-order loss grows."""
    words = ("optimizer={name: sgd, lr: 0.1}", "trainer.max_steps=1")
    combined, start, data, _ = fitted("toy_two_tasks", *words)
    batch = next(iter(data.train_dataloader()))
    rows = start.encode(batch.source)
    losses = {
        "source_task": start.task_loss(rows),
        "second": (start.second(rows.features).squeeze(1) - batch.source.inputs.sum(dim=1)).square().mean(),
    }
    parameters = [*start.encoder.parameters(), *start.head.parameters(), *start.second.parameters()]
    gradients = {
        name: list(torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True))
        for name, loss in losses.items()
    }
    moved = [*combined.encoder.parameters(), *combined.head.parameters(), *combined.second.parameters()]
    for after, before, gradient in zip(moved, parameters, project_conflicts(gradients), strict=True):
        torch.testing.assert_close(after, before - 0.1 * gradient, rtol=1e-4, atol=1e-6)
    summed, *_ = fitted("toy_two_tasks", "method.surgery=false", *words)
    for after, before, *both in zip(summed.parameters(), start.parameters(), *gradients.values()):
        gradient = sum(g for g in both if g is not None)
        torch.testing.assert_close(after, before - 0.1 * gradient, rtol=1e-4, atol=1e-6)


def test_a_view_is_encoded_anew_and_the_rows_themselves_once():
    seen = []
    hook = torch.nn.modules.module.register_module_forward_hook(
        lambda module, inputs, output: seen.append(len(inputs[0])) if type(module).__name__ == "MLP" else None
    )
    try:
        fitted("toy_two_views", "trainer.max_steps=1", "encoder={name: mlp, hidden: [8]}")
    finally:
        hook.remove()
    assert len(seen) == 3  # source, the noisy view, target


@pytest.mark.parametrize("method", [Game, TwoTasks, TwoViews])
def test_a_method_of_another_kind_is_small(method):
    config = dict(TOYS.values())[method]
    assert sum(len(inspect.getsource(part).splitlines()) for part in (method, config)) <= 40
