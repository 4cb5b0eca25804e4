"""Two stages of one fit: the source first, then the labelled target rows, from which a method says how to train."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from tl_research.config import MethodConfig, by_content, check, renamed
from tl_research.data.batch import PairedBatch, Samples
from tl_research.methods.base import AdaptationModule, Phase, schedule_factor
from tl_research.nn.held import hold_still
from tl_research.parallel import ranks
from tl_research.storage.start import start_content


@dataclass
class ParameterConfig(MethodConfig):
    """What every method of stages has beside its own options."""

    # phases, cached, or the path of a run folder or of its model.ckpt.
    start: str = by_content(start_content, default="phases")
    source_share: float = 0.5  # of trainer.max_epochs, rounded, that the source stage has; 0: no source stage
    # Whether the target stage has a head of its own; else it goes on with the source's.
    new_head: bool = renamed("head", {False: "source", True: "new"}, default=False)
    lr_scale: float = 1.0  # factor on optimizer.lr in the target stage

    def __post_init__(self):
        super().__post_init__()
        check(bool(self.start), "method.start", self.start, "phases, cached, or the path of a run's folder")
        check(0 <= self.source_share < 1, "method.source_share", self.source_share, "a share from 0 to below 1")
        check(self.lr_scale > 0, "method.lr_scale", self.lr_scale, "a number above 0")
        cached_nothing = self.start == "cached" and self.source_share == 0
        check(not cached_nothing, "method.start", self.start, "phases or a path: with source_share=0 nothing is cached")


class ParameterMethod(AdaptationModule):
    """CE(source) in the source stage; then, from those weights, CE(target_labeled) + the sum of `terms`.

    The source stage has the first `source_share` of the epochs, the target stage has the rest.

    The source stage is, number for number, a run of `source_only` of that many epochs. Where the target stage begins,
    the optimiser is new (no moment or step count is carried over), the learning rate's schedule begins again and spans
    the target stage alone, times `lr_scale`, and the generators of torch, numpy and Python are seeded with (seed,
    stage). So it does not matter where the weights of the source stage come from: this fit (`start=phases`), the
    run of `source_only` that all methods share (`cached`) or another checkpoint (a path); epochs, steps and batches
    are counted as if the source stage had been in this fit.

    Hooks, beside those of `AdaptationModule`: `make_target_parts`, `enter_target_stage`, `trainable`, `target_frozen`,
    `target_groups`. `terms` and `after_step` take part in the target stage alone. `build` must not draw random numbers:
    the source stage would not be the shared one.
    """

    reads = frozenset(("source", "target_labeled"))

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # In the state, so that whoever loads it knows which parts there are.
        self.register_buffer("stage", torch.zeros((), dtype=torch.long))
        self._stage = 0  # the same on the host
        self._source_is_done = self.source_epochs == 0

    @classmethod
    def check_config(cls, config: DictConfig) -> None:
        trainer, method = config.trainer, config.method
        check(trainer.max_steps == -1, "trainer.max_steps", trainer.max_steps, "-1: stages are counted in epochs")
        two = method.source_share == 0 or trainer.max_epochs >= 2
        check(two, "trainer.max_epochs", trainer.max_epochs, "2 or more: one for each stage, or method.source_share=0")

    @classmethod
    def needs_whole_weights(cls) -> str | None:
        if cls.make_target_parts is not ParameterMethod.make_target_parts:
            return "makes parts of its target stage from the source's weights"
        return super().needs_whole_weights()

    # Hooks

    def make_target_parts(self) -> None:
        """Make or replace the modules of the target stage (a head, adapters, copies). Call `super()` first.

        It reads the config and the modules as they are, no data. It is called where the stage begins, with the source's
        weights in place, and when a state of the target stage is loaded, which then fills in all values.
        """
        if self.config.new_head:
            device = next(self.head.parameters()).device
            self.head = nn.Linear(self.encoder.out_features, self.classes).to(device, self.head.weight.dtype)

    def enter_target_stage(self, labeled: Samples) -> None:
        """See the labelled target rows once, after `make_target_parts`, with the source's weights in place.

        Keep what is fitted in buffers (`Fitted`).
        """

    def enter_later_stage(self, stage: int) -> None:
        """Begin a stage after the first target stage, for a method whose `stage_of` has more than two stages."""

    def trainable(self, name: str) -> bool:
        """Return whether a parameter, by its full name, is trained in some epoch of the target stage.

        The optimiser has no other parameter, and a module without a trained parameter keeps its running statistics.
        """
        return True

    def target_frozen(self, epoch: int) -> tuple[str, ...]:
        """Name the submodules that are frozen in an epoch of the target stage: a pure function of it, 0 the first."""
        return ()

    def target_groups(self) -> list[dict[str, Any]]:
        """Return the optimiser's groups in the target stage, of the trainable parameters."""
        return [{"params": [parameter for name, parameter in self.named_parameters() if self.trainable(name)]}]

    # Stages

    @property
    def source_epochs(self) -> int:
        """Epochs of the source stage."""
        return source_epochs(self.config.source_share, self.epochs)

    def stage_of(self, epoch: int) -> int:
        """Return 0 for the source stage and 1 for the target stage; a method that starts anew counts on."""
        return int(epoch >= self.source_epochs)

    def epochs_of(self, stage: int) -> list[int]:
        """Return the epochs of a stage."""
        # Without a source stage nothing is trained in stage 0, but an optimiser is made before the first batch.
        return [epoch for epoch in range(self.epochs) if self.stage_of(epoch) == stage] or [0]

    def phase(self, epoch: int) -> Phase:
        if epoch < self.source_epochs:
            return Phase("source", target_labeled=False, adapt=False, selectable=False)
        return self.target_phase(epoch - self.source_epochs)

    def target_phase(self, epoch: int) -> Phase:
        """Say what an epoch of the target stage trains on, 0 the first: a pure function of it."""
        return Phase("target", source=False, frozen=self.target_frozen(epoch), lr_scale=self.config.lr_scale)

    @property
    def progress(self) -> float:
        """Share of the stage's optimiser steps that is done, 0 to 1."""
        if not self.total_steps:
            return 0.0
        epochs, per_epoch = self.epochs_of(self._stage), self.total_steps // self.epochs
        return min(1.0, max(0.0, (self.global_step - epochs[0] * per_epoch) / (len(epochs) * per_epoch)))

    def start_from(self, model: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Take over encoder and head, as far as `model` has them, as those of a finished source stage."""
        wanted = {name: value for name, value in model.items() if name.startswith(("encoder.", "head."))}
        self.load_state_dict({**self.state_dict(), **wanted})
        self._source_is_done = True
        self.facts["start"] = facts

    def begin_stage(self, stage: int, labeled: Samples) -> None:
        """Enter a stage after the source stage, with the weights of the stage before in place."""
        reseed(self.seed, stage)
        self.zero_grad(set_to_none=True)
        if self._stage == 0:
            self.make_target_parts()
        self._stage = stage
        self.stage.fill_(stage)
        if stage == 1:
            self.enter_target_stage(labeled)
        else:
            self.enter_later_stage(stage)

    def load_state_dict(self, state_dict, strict: bool = True, assign: bool = False):
        stage = int(state_dict["stage"]) if "stage" in state_dict else self._stage
        if stage and not self._stage:
            with torch.random.fork_rng(devices=[]):
                self.make_target_parts()
        self._stage = stage
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    # Training

    def averaged_over(self, term: str, phase: Phase) -> str | None:
        # A term of the weights alone is the same in every batch of a step, whatever these weigh.
        return super().averaged_over(term, phase) if phase.source else "target_labeled"

    def parameter_groups(self) -> list[dict]:
        return self.target_groups() if self._stage else super().parameter_groups()

    def lr_factor(self, step: int) -> float:
        epochs = self.epochs_of(self._stage)
        progress = 0.0
        if self.total_steps:
            progress = min(1.0, step / (len(epochs) * (self.total_steps // self.epochs)))
        epoch = epochs[min(len(epochs) - 1, int(progress * len(epochs) + 1e-9))]
        return schedule_factor(self.optimizer_config.schedule, progress) * self.phase(epoch).lr_scale

    def on_train_start(self) -> None:
        super().on_train_start()
        if self._source_is_done and self.trainer.ckpt_path is None:
            self._skip_source_stage()

    def _skip_source_stage(self) -> None:
        # As if resumed at the boundary: the target stage then has the batches, epochs and step numbers that it has
        # after a source stage in the same fit.
        loops = self.trainer.fit_loop
        progress = loops.epoch_progress.current
        progress.ready = progress.started = progress.processed = progress.completed = self.source_epochs
        steps = loops.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total
        steps.ready = steps.completed = self.source_epochs * (self.total_steps // self.epochs)
        loader = self.trainer.train_dataloader
        loader.load_state_dict({"step": self.source_epochs * len(loader)})

    def on_train_batch_start(self, batch: PairedBatch, batch_idx: int) -> None:
        stage = self.stage_of(self.current_epoch)
        if stage > self._stage:
            labeled = self.trainer.datamodule.sides["target_labeled"].map(lambda tensor: tensor.to(self.device))
            self.begin_stage(stage, labeled)
            ranks.broadcast_state(self)
            self.trainer.strategy.setup_optimizers(self.trainer)
        super().on_train_batch_start(batch, batch_idx)

    def _enter(self, phase: Phase) -> None:
        super()._enter(phase)
        if phase.source:
            return
        hold_still(self, self.trainable)


def source_epochs(share: float, epochs: int) -> int:
    """Epochs of the source stage: share × epochs, rounded; where the share is not 0, at least one epoch per stage."""
    return min(epochs - 1, max(1, round(share * epochs))) if share else 0


def reseed(seed: int, stage: int) -> None:
    """Seed the global generators with (seed, stage), so that a stage draws the same whatever came before it."""
    number = zlib.crc32(f"{seed}/stage {stage}".encode())
    torch.manual_seed(number)
    np.random.seed(number)  # noqa: NPY002 (the global state is what is seeded)
    random.seed(number)
