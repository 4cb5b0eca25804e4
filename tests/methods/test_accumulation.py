"""An accumulated gradient is that of one batch of the same rows, the last, shorter group of an epoch too."""

import lightning as L
import pytest
import torch

from tests.contracts.problem import data_of, method_config
from tl_research.config import run_id
from tl_research.data.batch import PairedBatch, Samples
from tl_research.data.sampling.uniform import BatchPlan
from tl_research.methods.build import build_method
from tl_research.methods.step import Step
from tl_research.registry import METHODS
from tl_research.runs.experiment import run
from tl_research.storage.checkpoints import load_model_file
from tl_research.training.resume import ResumeCheckpoint
from tl_research.training.trainer import make_trainer, quiet_lightning

#: 67 source rows in 6 batches of 11 and 12, and 26 labelled target rows in 3 of 8 and 9.
SMALL = (
    "data.n_source=99",
    "data.n_target=80",
    "data.batch_size=12",
    "encoder={name: mlp, hidden: [4]}",
    "optimizer={name: sgd, momentum: 0.0, lr: 0.5}",
    "trainer.max_epochs=2",
)


class Spy(L.Callback):
    """Repeats every step on one batch of the rows that its group had, and notes how far the weights are apart."""

    def __init__(self):
        self.batches, self.groups, self.apart, self.before = [], [], 0.0, None

    def on_before_backward(self, trainer, module, loss):
        # Behind the module's on_train_batch_start, which may begin a stage with parts of its own.
        if not self.batches:
            self.before = {name: value.clone() for name, value in module.state_dict().items()}

    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        self.batches.append(batch)
        if trainer.fit_loop.epoch_loop._should_accumulate():
            return
        after = {name: value.clone() for name, value in module.state_dict().items()}
        self.groups.append(len(self.batches))
        joined, self.batches = PairedBatch(*(together(side) for side in zip(*self.batches))), []
        module.load_state_dict(self.before)
        parameters = [p for p in module.parameters() if p.requires_grad]
        terms = module.loss_terms(Step(module, joined, module.phase(trainer.current_epoch)))
        gradients = torch.autograd.grad(sum(terms.values()), parameters, allow_unused=True)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients):
                if gradient is not None:
                    parameter -= 0.5 * gradient
        for name, value in module.state_dict().items():
            self.apart = max(self.apart, float((value - after[name]).abs().max()))
        module.load_state_dict(after)


def together(samples):
    if samples[0] is None:
        return None
    return Samples(*map(torch.cat, zip(*(side[:4] for side in samples))))


@pytest.mark.parametrize("k", [2, 4, 8])
@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("source_only", ()),
        ("union", ("data.shots=16",)),
        ("l2_sp", ("data.shots=16", "method.source_share=0")),
        ("lwf", ("data.shots=16", "method.source_share=0")),
        ("density_ratio", ()),
    ],
)
def test_a_step_is_that_of_one_batch_of_its_rows(method, words, k):
    quiet_lightning()
    config = method_config(method, "unused", *SMALL, *words, f"trainer.accumulate_grad_batches={k}")
    data = data_of(config, METHODS.get(method).target.reads)
    torch.manual_seed(0)
    module = build_method(config, data.spec, data.outcome)
    spy = Spy()
    trainer = make_trainer(config, [spy], None, None)
    module.prepare(data.sides["source"], data.sides["target"], data.sides.get("target_labeled"))
    trainer.fit(module, data)
    batches = len(trainer.train_dataloader)
    assert batches % k or k == 2
    whole, short = divmod(batches, k)
    assert spy.groups == 2 * ([k] * whole + [short] * (short > 0))
    sizes = {len(batch) for plan in trainer.train_dataloader.plans.values() for batch in map(plan.batch, range(8))}
    assert len(sizes) > 1  # batches of several sizes are among them
    assert spy.apart < 1e-6


def test_the_size_of_a_batch_is_known_before_it_is_drawn():
    plan = BatchPlan(89, 12, seed=3, side="source", rank=1, world_size=2)
    assert [plan.size(step) for step in range(11)] == [len(plan.batch(step)) for step in range(11)]


@pytest.mark.parametrize("batches", [4, 6, 8, 12])
def test_killed_at_any_batch_and_resumed_is_bit_identical(tmp_path, monkeypatch, batches):
    words = (*SMALL, "trainer.accumulate_grad_batches=3", "trainer.checkpoint_every_n_steps=1")
    configs = [method_config("source_only", tmp_path / name, *words) for name in ("undisturbed", "killed")]
    run(configs[0])
    end_of_batch = ResumeCheckpoint.on_train_batch_end

    def die(self, *given):
        end_of_batch(self, *given)
        if self._batches == batches:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ResumeCheckpoint, "on_train_batch_end", die)
        with pytest.raises(KeyboardInterrupt):
            run(configs[1])
    run(configs[1])
    one, other = (
        load_model_file(tmp_path / name / run_id(config))["model"]
        for name, config in zip(("undisturbed", "killed"), configs)
    )
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
