import copy
import math

import pytest
import torch
from omegaconf import OmegaConf

from tests.contracts.problem import data_of, method_config, module_and_batch
from tl_research.config import OptimizerConfig
from tl_research.data.batch import PairedBatch
from tl_research.methods.base import AdaptationModule, Phase, Step, schedule_factor
from tl_research.methods.baseline.source_only import SourceOnly
from tl_research.methods.build import build_method
from tl_research.methods.parameter.fine_tune import FineTune
from tl_research.runs.experiment import run
from tl_research.storage.checkpoints import load_model_file
from tl_research.training.resume import ResumeCheckpoint
from tl_research.training.trainer import make_trainer, quiet_lightning

SHORT = ("trainer.max_epochs=4", "data.n_source=300", "data.n_target=300")


def fit(method: str, *overrides: str, callbacks=()) -> AdaptationModule:
    quiet_lightning()
    config = method_config(method, "unused", *SHORT, *overrides)
    data = data_of(config, type_reads(method))
    torch.manual_seed(0)
    module = build_method(config, data.spec, data.outcome)
    make_trainer(config, list(callbacks), None, None).fit(module, data)
    return module


def type_reads(method: str):
    from tl_research.registry import METHODS

    return METHODS.get(method).target.reads


def test_frozen_is_bit_equal_running_statistics_and_optimizer_state_too(monkeypatch):
    monkeypatch.setattr(SourceOnly, "phase", lambda self, epoch: Phase(frozen=("encoder",)))
    before = {}

    def remember(self):
        before.update(copy.deepcopy(self.state_dict()))
        start(self)

    start = AdaptationModule.on_train_start
    monkeypatch.setattr(SourceOnly, "on_train_start", remember)
    module = fit("source_only", "encoder.batch_norm=true", "encoder.dropout=0.5", "optimizer.weight_decay=0.1")
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("encoder."), name
    trained = set(module.optimizers().optimizer.state)
    assert trained == set(module.head.parameters())


def test_fine_tune_reads_each_side_in_its_phase_only():
    module, batch = module_and_batch("fine_tune")
    first, last = module.phase(0), module.phase(module.epochs - 1)
    assert set(module.loss_terms(Step(module, batch, first))) == {"source_task"}
    assert set(module.loss_terms(Step(module, batch, last))) == {"target_task"}


@pytest.mark.parametrize(("epochs", "share", "source"), [(10, 0.5, 5), (2, 0.5, 1), (3, 0.01, 1), (3, 0.99, 2)])
def test_fine_tune_always_has_both_phases(epochs, share, source):
    module, _ = module_and_batch("fine_tune")
    module.epochs, module.config.source_share = epochs, share
    assert [module.phase(epoch).name for epoch in range(epochs)] == ["source"] * source + ["target"] * (epochs - source)


def test_phases_in_one_fit_equal_the_stages_run_apart(monkeypatch):
    """Source epochs of fine_tune are those of source_only, weight for weight."""
    weights = {}

    def spy(self, epoch):
        phase = original(self, epoch)
        if phase.name == "target" and "source" not in weights:
            weights["source"] = copy.deepcopy(self.state_dict())
        return phase

    module = fit("source_only", "trainer.max_epochs=2", "data.setting=few_shot", "data.shots=10")
    original = FineTune.phase
    entered = AdaptationModule._enter

    def enter(self, phase):
        if phase.name == "target":
            weights.setdefault("source", copy.deepcopy(self.state_dict()))
        entered(self, phase)

    monkeypatch.setattr(FineTune, "_enter", enter)
    fit("fine_tune")
    assert all(torch.equal(weights["source"][name], value) for name, value in module.state_dict().items())


def test_task_losses_of_two_sides_weigh_half_each():
    module, batch = module_and_batch("union")
    terms = module.loss_terms(Step(module, batch, Phase()))
    source = module.task_loss(module.encode(batch.source))
    target = module.task_loss(module.encode(batch.target_labeled))
    assert float(sum(terms.values())) == pytest.approx(float(source + target) / 2)


def test_source_weights_of_one_change_nothing_and_of_zero_leave_out():
    module, batch = module_and_batch("source_only")
    rows = module.encode(batch.source)
    ones = torch.ones(len(rows.label))
    torch.testing.assert_close(module.task_loss(rows, ones), module.task_loss(rows))
    half = ones.clone()
    half[1::2] = 0
    kept = module.encode(batch.source.map(lambda tensor: tensor[::2]))
    expected = module.task_loss(kept) * len(kept.label) / len(rows.label)
    torch.testing.assert_close(module.task_loss(rows, half), expected)


def test_a_batch_without_anything_to_train_on_is_an_error():
    module, _ = module_and_batch("source_only")
    with pytest.raises(RuntimeError, match="nothing to train on"):
        module.loss_terms(Step(module, PairedBatch(None, None, None), Phase()))


@pytest.mark.parametrize(
    ("schedule", "values"),
    [("constant", (1, 1, 1)), ("cosine", (1, 0.5, 0)), ("inverse", (1, 6**-0.75, 11**-0.75))],
)
def test_schedules_at_start_middle_and_end(schedule, values):
    assert [schedule_factor(schedule, p) for p in (0.0, 0.5, 1.0)] == pytest.approx(values)


def test_the_schedule_and_the_phase_scale_reach_the_optimizer(monkeypatch):
    rates = []

    def spy(self, batch, index):
        rates.append(self.optimizers().optimizer.param_groups[0]["lr"])
        return step(self, batch, index)

    step = AdaptationModule.training_step
    monkeypatch.setattr(FineTune, "training_step", spy)
    module = fit("fine_tune", "method.lr_scale=0.1", "optimizer.schedule=cosine", "optimizer.lr=0.01")
    total = module.total_steps
    assert len(rates) == total
    for number, rate in enumerate(rates):
        # The target stage, the second half, has a schedule of its own.
        progress = (2 * number / total) % 1
        scale = 0.1 if number >= total / 2 else 1.0
        assert rate == pytest.approx(0.01 * scale * 0.5 * (1 + math.cos(math.pi * progress)), rel=1e-6)


def test_accumulating_two_half_batches_equals_one_whole(tmp_path):
    """Plain gradient descent; every row of an epoch has one weight, whatever the cut."""
    words = ("optimizer.name=sgd", "optimizer.momentum=0", "data.n_source=284", "trainer.max_epochs=1")
    config = method_config("source_only", tmp_path, *words)
    size = data_of(config, SourceOnly.reads).sides["source"].size
    assert size % 2 == 0
    whole = fit("source_only", *words, f"data.batch_size={size}", "data.n_target=30")
    halves = fit(
        "source_only", *words, f"data.batch_size={size // 2}", "data.n_target=30", "trainer.accumulate_grad_batches=2"
    )
    for one, two in zip(whole.parameters(), halves.parameters(), strict=True):
        torch.testing.assert_close(one, two)


def test_clipping_bounds_the_step():
    words = ("optimizer.name=sgd", "optimizer.momentum=0", "optimizer.lr=1.0", "trainer.max_steps=1")
    torch.manual_seed(0)
    config = method_config("source_only", "unused", *SHORT, *words)
    data = data_of(config, SourceOnly.reads)
    start = build_method(config, data.spec, data.outcome)
    moved = fit("source_only", *words, "trainer.gradient_clip_val=0.01")
    change = torch.cat([(a - b).flatten() for a, b in zip(moved.parameters(), start.parameters(), strict=True)])
    assert float(change.detach().norm()) == pytest.approx(0.01, rel=1e-3)


def test_compiling_gives_the_same_numbers(tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, *a, **k: compiled.append(type(self).__name__))
    plain = run(method_config("source_only", tmp_path / "a", *SHORT))
    other = run(method_config("source_only", tmp_path / "b", *SHORT, "trainer.compile=true"))
    assert compiled == ["MLP", "Linear"]
    assert plain.metrics == other.metrics


def test_optimizer_group_carries_over():
    module, _ = module_and_batch("source_only")
    module.optimizer_config = OptimizerConfig(name="adamw", lr=0.5, weight_decay=0.25)
    optimizer = module.configure_optimizers()
    assert type(optimizer) is torch.optim.AdamW
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (0.5, 0.25)
    assert OmegaConf.structured(module.optimizer_config).name == "adamw"


def test_prepare_sees_the_training_rows_once_and_a_resumed_run_keeps_what_it_fitted(tmp_path, monkeypatch):
    calls = []

    def build(self):
        self.register_buffer("fitted", torch.zeros(()))

    def prepare(self, source, target, target_labeled):
        calls.append((source.size, target.size))
        assert (target.label == -1).all()
        assert target_labeled is None
        self.fitted.fill_(len(calls))

    monkeypatch.setattr(SourceOnly, "build", build)
    monkeypatch.setattr(SourceOnly, "prepare", prepare)
    save = ResumeCheckpoint.save

    def save_then_die(self, trainer):
        save(self, trainer)
        raise KeyboardInterrupt

    config = method_config("source_only", tmp_path, *SHORT, "trainer.checkpoint_every_n_steps=3")
    monkeypatch.setattr(ResumeCheckpoint, "save", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        run(config)
    monkeypatch.setattr(ResumeCheckpoint, "save", save)
    record = run(config)
    rows = record.data["rows"]
    assert calls == [(rows["source"], rows["target"])]
    assert load_model_file(tmp_path / record.run_id)["model"]["fitted"] == 1
