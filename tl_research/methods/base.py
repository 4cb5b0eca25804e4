"""`AdaptationModule`: the one training step that every method shares, and the hooks a method may fill."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar

import lightning as L
import torch
from omegaconf import DictConfig
from torch import Tensor

from tl_research.config import MethodConfig, OptimizerConfig
from tl_research.data.batch import Inputs, PairedBatch, Samples
from tl_research.encoders.base import Encoder
from tl_research.methods.accumulation import factor_on_loss
from tl_research.methods.hooks import refuse_misspelt_hooks
from tl_research.methods.objectives import GradientSum, Objective, check_objectives, training_only
from tl_research.methods.refusals import refuse_non_finite, refuses_few_rows
from tl_research.methods.step import Encoded, Phase, Step
from tl_research.nn.fitted import Fitted
from tl_research.nn.lazy_adam import LazyAdam
from tl_research.outcomes.base import Outcome
from tl_research.parallel import ranks
from tl_research.weighting.rows import weigh_rows

#: On an accelerator the loss is read this rarely, because reading it waits for the device.
READ_EVERY_N_STEPS = 50
#: Optimisers with a learning rate of each parameter's own.
ADAPTIVE = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "lazy_adam": LazyAdam}
#: Types of attributes among which torch need not look for parameters.
PLAIN = frozenset((str, int, float, bool, type(None)))


class RowWeights(Fitted):
    """Weights (n,) of the training rows of the source, of mean 1."""

    source: Tensor


class AdaptationModule(L.LightningModule):
    """Minimises  L = mean of the task losses on rows with labels  +  the sum of `terms`.

    The task loss is `outcome.loss`. Losses are computed in float32 outside autocast.

    Args:
        config: group `method`.
        encoder: inputs -> features.
        outcome: what is predicted; it makes the head and the task loss.
        optimizer: group `optimizer`.
        epochs: length of the run, for phases and ramps.
        sources: names of the source domains, by the ids of `Samples.domain`.

    Hooks, of which a method overrides the fewest it can: `build`, `terms`, `source_weights`, `after_step`, `prepare`,
    `phase`, `parameter_groups`, `watched_blocks`. CONTRIBUTING.md has the list of all.
    """

    #: Engine that carries the method out: `gradient` steps, or a `fit` in `prepare` alone.
    engine: str = "gradient"
    #: Seed of what `prepare` draws.
    seed: int = 0
    #: Sides of the paired batch that the method reads; the loader gathers no others.
    reads: ClassVar[frozenset[str]] = frozenset(("source", "target", "target_labeled"))
    #: How the batches of a run are drawn where `data.sampler` does not say it; None: uniformly.
    sampler: ClassVar[str | None] = None
    #: True: the rows of a `Step` are this rank's. `terms` then couples the ranks itself, with the gradient that
    #: gathered rows would have, but without every rank doing the work of all.
    couples_ranks: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        refuse_misspelt_hooks(cls)

    def __init__(
        self,
        config: MethodConfig,
        encoder: Encoder,
        *,
        outcome: Outcome,
        optimizer: OptimizerConfig,
        epochs: int,
        sources: Sequence[str] = (),
    ):
        super().__init__()
        self.config, self.optimizer_config, self.epochs = config, optimizer, epochs
        self.source_names = tuple(sources)
        self.encoder = encoder
        self.outcome = outcome
        self.head = outcome.head(encoder.out_features)
        self.total_steps: int | None = None  # known when training starts
        self._term_sums: dict[str, Tensor] = {}
        self._term_steps = 0
        self._accounted_epoch = self._entered_epoch = -1
        self._phase: Phase | None = None
        self._step: Step | None = None  # of the batch before, in an accumulated gradient
        self._turn: list[tuple[PairedBatch, int]] = []  # batches whose steps are still to be taken
        self.facts: dict[str, Any] = {}  # what `prepare` found out, for the result record
        self.row_weights = RowWeights() if config.weighting is not None else None
        self.build()
        self._refuse_manual_optimisation()

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes the name of each hook here, some fifty times per step, and torch takes microseconds for each.
        if type(value) in PLAIN and name in self.__dict__:
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    @property
    def classes(self) -> int:
        """Number of outputs."""
        return self.outcome.width

    # Hooks

    @classmethod
    def check_config(cls, config: DictConfig) -> None:
        """Raise `ConfigError` where the whole run's configuration does not suit the method."""

    @classmethod
    def needs_whole_weights(cls) -> str | None:
        """Say why the weights must be whole on every rank, which `trainer.strategy=fsdp` then refuses.

        None: all that the method does with a parameter is to call the `forward` of the part that has it.
        """
        if cls.choose_weights is not AdaptationModule.choose_weights:
            return "measures other weights than it trains"
        if cls.objectives is not AdaptationModule.objectives:
            return "has objectives of its own"
        return None

    def build(self) -> None:
        """Make what the method owns beside encoder and head (a discriminator, buffers)."""

    def terms(self, step: Step) -> dict[str, Tensor]:
        """Return the method's named terms, weighted, each a scalar; they are added to the task losses.

        It must change nothing of the method: what moves once per optimiser step moves in `after_step`. Labels of
        `step.target` are hidden.
        """
        return {}

    def source_weights(self, step: Step) -> Tensor | None:
        """Return a weight (n,) for the task loss of each row of `step.local("source")`, of mean about 1.

        None: equal weights. By default the weights that `method.weighting` gave the rows.
        """
        return None if self.row_weights is None else self.row_weights.source[step.local("source").index]

    def after_step(self, step: Step) -> None:
        """Move memories, queues and averages: once per optimiser step, after it, in the phases that have `terms`.

        It runs without gradients.

        Args:
            step: the last batch of the step; `step.kept(name)` has what `step.keep` was given in all its batches.
        """

    def watched_blocks(self) -> Iterable[str]:
        """Name the blocks of the encoder whose outputs `step.maps(side)` is to have."""
        return ()

    def prepare(self, source: Samples, target: Samples, target_labeled: Samples | None) -> None:
        """See the whole training rows once, before the first step, and keep what is fitted in buffers.

        By default it weighs the source rows where `method.weighting` asks for it: call it first.
        """
        weighting = self.config.weighting
        if self.row_weights is not None and weighting is not None:
            weights = weigh_rows(source, target, self.encoder.spec, weighting, seed=self.seed)
            self.row_weights.keep(source=weights.weight.to(source.label.device, torch.float32))
            self.facts["weighting"] = weights.facts

    def phase(self, epoch: int) -> Phase:
        """Say what `epoch` trains on: a pure function of the epoch, so that a resumed run is in the right phase."""
        return Phase()

    def parameter_groups(self) -> list[dict]:
        """Return the optimiser's groups.

        Give each group its absolute learning rate; it is not multiplied by `optimizer.lr`.
        """
        return [{"params": list(self.parameters())}]

    @property
    def needs_target_val(self) -> bool:
        """Whether `choose_weights` cannot do without a score on target validation labels."""
        return False

    def choose_weights(self, score: Callable[[], tuple[float, float] | None]) -> None:
        """Choose which weights are measured and kept after an epoch, for a method that measures others than it trains.

        Args:
            score: measures the weights in force by the rule `target_val`: higher is better; None where the setting
                leaves no target labels to validate on.
        """

    def weight_curve(self) -> Iterator[dict[str, Any]]:
        """Put the weights of a curve in force, one after another, and say what each is (`alpha`, ...).

        The record keeps the metrics of each. The last weights in force are those that were chosen.
        """
        return iter(())

    def learnt_facts(self) -> dict[str, Any]:
        """Return what the weights in force say of themselves, for the record; it is asked of those that are kept."""
        return {}

    # Forward

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Return features (n, out_features) and logits (n, classes)."""
        features = self.encoder(inputs)
        return features, self.head(features)

    def forward_source(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """`forward` for rows of a source domain, where a method treats the domains differently."""
        return self(inputs)

    def encode(self, samples: Samples, *, is_source: bool = False) -> Encoded:
        """Run encoder and head, in full precision behind them."""
        features, logits = self.forward_source(samples.inputs) if is_source else self(samples.inputs)
        return Encoded(full_precision(features), full_precision(logits), *samples[1:])

    # The training step

    @property
    def progress(self) -> float:
        """Share of the run's optimiser steps that is done, 0 to 1."""
        return min(1.0, self.global_step / self.total_steps) if self.total_steps else 0.0

    def task_loss(self, rows: Encoded, weight: Tensor | None = None) -> Tensor:
        """Mean of `row_losses`, or with weights (n,) Σ_i w_i l_i / n."""
        return self.outcome.loss(rows.logits, rows.label, weight)

    def row_losses(self, rows: Encoded) -> Tensor:
        """Task loss of each row (n,)."""
        return self.outcome.row_losses(rows.logits, rows.label)

    def loss_terms(self, step: Step) -> dict[str, Tensor]:
        """Return every term of the loss, by name: task losses, then `terms`.

        Raises:
            RuntimeError: the phase has no term at all.
        """
        adapts = step.phase.adapt and type(self).terms is not AdaptationModule.terms
        # The order decides what dropout draws and running statistics see: source, target, labelled target.
        source = self._source_task(step)
        added = self.terms(step) if adapts else {}
        terms = _shared_out(source | self._target_task(step)) | added
        if not terms:
            raise RuntimeError(f"{type(self).__name__} has nothing to train on in phase {step.phase.name!r}")
        return terms

    def task_losses(self, step: Step) -> dict[str, Tensor]:
        """Return the phase's task losses, `source_task` and `target_task`; each counts half where there are both."""
        return _shared_out(self._source_task(step) | self._target_task(step))

    def _source_task(self, step: Step) -> dict[str, Tensor]:
        if not step.phase.source or step.batch is None or step.batch.source is None:
            return {}
        return {"source_task": self.task_loss(step.local("source"), self.source_weights(step))}

    def _target_task(self, step: Step) -> dict[str, Tensor]:
        if not step.phase.target_labeled or step.batch is None or step.batch.target_labeled is None:
            return {}
        return {"target_task": self.task_loss(step.local("target_labeled"))}

    def objectives(self) -> list[Objective]:
        """Return what is minimised, in the order of a turn's steps. By default `loss_terms`, over all parameters.

        One optimiser serves all. It has a state for each parameter, so that objectives without a common part have what
        an optimiser for each would have. Rates of their own come from `parameter_groups`.
        """
        return [Objective("", (), self.loss_terms)]

    @property
    def is_game(self) -> bool:
        """Whether the method says itself what its objectives are."""
        return type(self).objectives is not AdaptationModule.objectives

    def training_step(self, batch: PairedBatch, batch_idx: int) -> Tensor:
        self._term_steps += 1
        if self.is_game:
            # The steps are taken in `optimizer_step`, once the batches of the turn are complete.
            self._turn.append((batch, batch_idx))
            return torch.zeros((), device=self.device, requires_grad=True)
        terms = self._losses(self.loss_terms, batch)
        loss = _sum(terms)
        self._account(terms | self._reported, loss.detach())
        if self._trainer is None or self.trainer.accumulate_grad_batches == 1:
            return loss
        return _sum(self._weighed(terms, batch_idx))

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        if not self.is_game:
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
            self._end_step()
            return
        optimizer_closure()
        turn, self._turn = self._turn, []
        for objective in self.objectives():
            for _ in range(objective.every if objective.parameters(self) else 0):
                # Lightning clips and scales, calls the hooks of a step, and counts one step for the turn.
                optimizer.step(closure=partial(self._evaluate, objective, turn))
                self._end_step()

    @torch.enable_grad()
    def _evaluate(self, objective: Objective, turn: list[tuple[PairedBatch, int]]) -> Tensor:
        """Give the objective's parameters its gradient over the batches of a turn, and return its loss."""
        parameters, precision = objective.parameters(self), self.trainer.precision_plugin
        loss = torch.zeros((), device=self.device)
        gradient = GradientSum(parameters, objective.combine)
        self.zero_grad(set_to_none=True)
        with training_only(self, parameters):
            for batch, batch_idx in turn:
                # A context for each evaluation: autocast keeps copies of the weights as long as one lasts.
                with precision.train_step_context():
                    terms = self._losses(objective.terms, batch, objective.name)
                named = {f"{objective.name}.{name}": term for name, term in (terms | self._reported).items()}
                self._account(named, _sum(terms).detach(), share=1 / objective.every)
                terms = self._weighed(terms, batch_idx, 1 / self.trainer.accumulate_grad_batches)
                gradient.add({name: precision.pre_backward(term, self) for name, term in terms.items()})
                loss = loss + _sum(terms).detach()
        gradient.give()
        return loss

    @property
    def _current_phase(self) -> Phase:
        return self._phase or self.phase(self.current_epoch)

    @property
    def _reported(self) -> dict[str, Tensor]:
        return {} if self._step is None else self._step.reported

    def _losses(
        self, losses: Callable[[Step], dict[str, Tensor]], batch: PairedBatch, objective: str = ""
    ) -> dict[str, Tensor]:
        self._step = Step(self, batch, self._current_phase, objective=objective, before=self._step)
        with refuses_few_rows(batch), torch.autocast(self.device.type, enabled=False):
            return losses(self._step)

    def _weighed(self, terms: dict[str, Tensor], batch_idx: int, factor: float = 1.0) -> dict[str, Tensor]:
        sides = {name: self.averaged_over(name, self._current_phase) for name in terms}
        return {name: factor * factor_on_loss(self.trainer, batch_idx, sides[name]) * terms[name] for name in terms}

    @torch.no_grad()
    def _end_step(self) -> None:
        step, self._step = self._step, None
        if step is not None and step.phase.adapt:  # a fit without gradient steps has no step
            self.after_step(step)

    def averaged_over(self, term: str, phase: Phase) -> str | None:
        """Return the side over whose rows a term of `loss_terms` is a mean, None for any other term.

        It says what the batches of one accumulated gradient weigh: by their rows of that side, else all alike.
        """
        return {"source_task": "source", "target_task": "target_labeled"}.get(term)

    def _account(self, terms: dict[str, Tensor], loss: Tensor, *, share: float = 1.0) -> None:
        # Sums stay on the device: logging a step costs no synchronisation.
        for name, term in terms.items():
            term = term.detach()
            present = self._term_sums.get(name)
            if present is None:
                self._term_sums[name] = share * term
            else:
                present.add_(term, alpha=share)
        if loss.device.type == "cpu":
            if not math.isfinite(loss.item()):
                refuse_non_finite(terms, self.global_step)
        elif self._term_steps % READ_EVERY_N_STEPS == 0:
            refuse_non_finite(self._term_sums, self.global_step)

    def mean_terms(self) -> dict[str, float]:
        """Return the mean of each term over the epoch's steps and the ranks. Every rank must call it.

        Raises:
            NonFiniteLoss: a mean is not finite.
        """
        refuse_non_finite(self._term_sums, self.global_step)
        if not ranks.is_distributed():
            return {name: total.item() / self._term_steps for name, total in self._term_sums.items()}
        return {name: total.mean().item() / self._term_steps for name, total in self._sums_of_ranks().items()}

    def _sums_of_ranks(self) -> dict[str, Tensor]:
        """Sum of each term on every rank (ranks,), on the CPU."""
        return {name: ranks.gather_rows(total[None]).cpu() for name, total in self._term_sums.items()}

    # Lightning

    def on_train_start(self) -> None:
        # Not earlier: asking for the number makes the loader, and a resumed run must restore its state before that.
        self.total_steps = int(self.trainer.estimated_stepping_batches)

    def on_train_batch_start(self, batch: PairedBatch, batch_idx: int) -> None:
        # Not in on_train_epoch_start: Lightning leaves that hook out in an epoch that is resumed.
        if self._entered_epoch == self.current_epoch:
            return
        self._entered_epoch = self.current_epoch
        if self._accounted_epoch != self.current_epoch:
            self._accounted_epoch = self.current_epoch
            self._term_sums, self._term_steps = {}, 0
        self._enter(self.phase(self.current_epoch))

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self.train()
        self.requires_grad_(True)
        own = dict(self.named_parameters())
        for name in phase.frozen:
            if name in own:
                own[name].requires_grad_(False)
                continue
            module = self.get_submodule(name)
            module.requires_grad_(False)
            module.eval()  # running statistics are part of what is frozen

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        alone = not ranks.is_distributed()
        sums = {name: total.cpu() for name, total in self._term_sums.items()} if alone else self._sums_of_ranks()
        checkpoint["term_sums"] = sums
        checkpoint["term_steps"], checkpoint["accounted_epoch"] = self._term_steps, self._accounted_epoch
        checkpoint["facts"] = self.facts

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self.facts = checkpoint.get("facts", {})
        sums, rank = checkpoint["term_sums"], ranks.rank()
        own = {name: total[rank].clone() if total.ndim else total for name, total in sums.items()}
        self._term_sums = {name: total.to(self.device) for name, total in own.items()}
        self._term_steps, self._accounted_epoch = checkpoint["term_steps"], checkpoint["accounted_epoch"]

    def configure_optimizers(self) -> Any:
        self._refuse_manual_optimisation()
        if self.is_game:
            check_objectives(self.objectives(), self)
        settings = self.optimizer_config
        groups = self.parameter_groups()
        if settings.name == "sgd":
            optimizer = torch.optim.SGD(
                groups, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
            )
        else:
            kind = ADAPTIVE[settings.name]
            optimizer = kind(groups, lr=settings.lr, weight_decay=settings.weight_decay)
        phased = type(self).phase is not AdaptationModule.phase
        if settings.schedule == "constant" and not phased:
            return optimizer
        # A plain function: the scheduler would put the attributes of any other callable into its state.
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.lr_factor(step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _refuse_manual_optimisation(self) -> None:
        if not self.automatic_optimization:
            raise TypeError(
                f"{type(self).__name__}: automatic_optimization = False leaves out schedule, progress, clipping and "
                "the check for NaN; return the method's losses from `objectives` instead"
            )

    def lr_factor(self, step: int) -> float:
        """Factor on every learning rate at a step of the optimiser: the schedule's times the phase's."""
        # The length is known once training starts; before, the scheduler asks for step 0 only.
        progress = min(1.0, step / self.total_steps) if self.total_steps else 0.0
        epoch = min(self.epochs - 1, int(progress * self.epochs + 1e-9))
        return schedule_factor(self.optimizer_config.schedule, progress) * self.phase(epoch).lr_scale


def full_precision(tensor: Tensor) -> Tensor:
    """Return what autocast made of 16 bits as float32, and anything else as it is."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def schedule_factor(schedule: str, progress: float) -> float:
    """Factor on the learning rate at `progress` in [0, 1].

    constant: 1. cosine: (1 + cos(pi p)) / 2. inverse: (1 + 10 p)^-0.75 (Ganin et al. 2016, section 5.2).
    """
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * progress))
    if schedule == "inverse":
        return (1.0 + 10.0 * progress) ** -0.75
    return 1.0


def _sum(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum() if len(terms) > 1 else next(iter(terms.values()))


def _shared_out(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: loss / 2 for name, loss in losses.items()} if len(losses) == 2 else losses
