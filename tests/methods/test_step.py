"""`Step` encodes on first use and remembers; `after_step` moves once per optimiser step."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests.contracts.problem import LABELLED, data_of, is_closed_form, method_config, module_and_batch
from tl_research.methods.base import AdaptationModule, Phase, Step
from tl_research.methods.build import build_method
from tl_research.methods.staged import ParameterMethod
from tl_research.registry import METHODS
from tl_research.training.trainer import make_trainer, quiet_lightning

TRAINED = [name for name in LABELLED if not is_closed_form(name)]
WITH_HOOKS = [
    name
    for name in TRAINED
    if METHODS.get(name).target.terms is not AdaptationModule.terms
    or METHODS.get(name).target.source_weights is not AdaptationModule.source_weights
]


def test_sides_are_encoded_once_in_the_order_of_their_use(monkeypatch):
    module, batch = module_and_batch("dann")
    batch = batch._replace(target_labeled=batch.source)
    seen, encode = [], module.encode

    def watch(samples, *, is_source=False):
        seen.append("source" if is_source else "target" if samples.inputs is batch.target.inputs else "labeled")
        return encode(samples, is_source=is_source)

    monkeypatch.setattr(module, "encode", watch)
    step = Step(module, batch, Phase())
    assert seen == []
    module.loss_terms(step)
    assert seen == ["source", "target", "labeled"]
    assert step.source is step.source
    assert torch.equal(step.labeled.logits, step.local("target_labeled").logits)
    assert len(seen) == 3


def test_a_view_changes_the_inputs_and_nothing_else():
    module, batch = module_and_batch("dann")
    step = Step(module, batch, Phase())
    twice = step.view("target", lambda inputs: 2 * inputs)
    assert torch.equal(twice.features, module.encoder(2 * batch.target.inputs))
    assert torch.equal(twice.index, batch.target.index)
    assert torch.equal(step.view("source", lambda inputs: inputs).logits, step.source.logits)


def test_blocks_are_watched_on_every_side(monkeypatch):
    module, batch = module_and_batch("dann")
    blocks = module.encoder.blocks()
    assert Step(module, batch, Phase()).maps("source") == {}
    monkeypatch.setattr(module, "watched_blocks", lambda: blocks)
    step = Step(module, batch, Phase())
    for side in ("source", "target"):
        maps, first = step.maps(side), module.encoder.get_submodule(blocks[0])
        assert list(maps) == blocks
        torch.testing.assert_close(maps[blocks[0]], first(getattr(batch, side).inputs))
    assert step.maps("source") is not step.maps("target")


@pytest.mark.parametrize("method", WITH_HOOKS)
def test_the_loss_moves_nothing_of_the_method(method):
    """Evaluated twice, it is as it was: what moves does so in `after_step`."""
    module, batch = module_and_batch(method)
    phase = module.phase(module.epochs - 1)
    if isinstance(module, ParameterMethod):
        module.begin_stage(1, batch.target_labeled)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    losses = [sum(module.loss_terms(Step(module, batch, phase)).values()) for _ in range(2)]
    assert torch.equal(*losses)
    moved = [name for name, value in module.state_dict().items() if not torch.equal(value, before[name])]
    assert not [name for name in moved if not is_statistic_of_a_norm(name)]


def is_statistic_of_a_norm(name: str) -> bool:
    return name.endswith((".running_mean", ".running_var", ".num_batches_tracked"))


def one_step(method: str, batches: int, *words: str):
    """A method after one optimiser step of so many batches, the same before it, and the batches."""
    quiet_lightning()
    words = (*words, "trainer.max_epochs=1", "data.batch_size=32", "data.n_source=600")
    config = method_config(method, "unused", *words, f"trainer.accumulate_grad_batches={batches}")
    data = data_of(config, METHODS.get(method).target.reads)
    torch.manual_seed(0)
    module = build_method(config, data.spec, data.outcome)
    module.prepare(data.sides.get("source"), data.sides["target"], data.sides.get("target_labeled"))
    start = {name: value.clone() for name, value in module.state_dict().items()}
    loader = iter(data.train_dataloader())
    rows = [next(loader) for _ in range(batches)]
    trainer = make_trainer(config, [], None, None)
    trainer.limit_train_batches = batches
    trainer.fit(module, data_of(config, METHODS.get(method).target.reads))
    return module, start, rows


@pytest.mark.parametrize("batches", [1, 3])
def test_group_weights_move_once_by_the_means_over_all_batches_of_a_step(batches):
    module, start, rows = one_step("group_dro", batches, "method.step=0.5")
    moved = module.robust.log_q.clone()
    module.load_state_dict(start)
    source = [batch.source for batch in rows]
    label = torch.cat([part.label for part in source])
    with torch.no_grad():
        logits = torch.cat([module(part.inputs)[1] for part in source])
    loss = F.cross_entropy(logits, label, reduction="none")
    means = torch.stack([loss[label == group].mean() for group in range(2)])
    torch.testing.assert_close(moved, (start["robust.log_q"] + 0.5 * means).log_softmax(dim=0))


@pytest.mark.parametrize("batches", [1, 3])
def test_the_queues_get_the_keys_of_all_batches_of_a_step_and_the_key_encoder_moves_once(batches):
    words = ("method.source_share=0", "method.momentum=0.75", "data.shots=64", "method.queue=999")
    module, start, rows = one_step("bi_tuning", batches, *words)
    labels = torch.cat([batch.target_labeled.label for batch in rows])
    queued = module.key_queue.label[module.key_queue.label >= 0]
    assert torch.equal(queued.bincount(minlength=2), labels.bincount(minlength=2))
    for name, value in module.key_encoder.values().items():
        before = start[f"encoder.{name}"]
        torch.testing.assert_close(value, before + 0.25 * (module.encoder.state_dict()[name] - before))
