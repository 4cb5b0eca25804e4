"""`AdaptationModule`: the one training step that every method shares, and the hooks a method may fill."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import lightning as L
import torch
from omegaconf import DictConfig
from torch import Tensor

from tl_research.config import MethodConfig, OptimizerConfig
from tl_research.data.batch import Inputs, PairedBatch, Samples
from tl_research.encoders.base import Encoder
from tl_research.errors import ConfigError, NonFiniteLoss, UserError
from tl_research.methods.accumulation import factor_on_loss
from tl_research.nn.fitted import Fitted
from tl_research.outcomes.base import Outcome
from tl_research.parallel import ranks
from tl_research.weighting.rows import weigh_rows

#: On an accelerator the loss is read this rarely, because reading it waits for the device.
READ_EVERY_N_STEPS = 50
#: Angles need three rows, variances and norms over a batch two.
FEW_ROWS = 2


class Encoded(NamedTuple):
    """Rows after encoder and head.

    Fields:
        features: (n, out_features) float32 (or float64).
        logits: (n, outcome.width), same dtype.
        label, index, domain: as in `Samples`.
    """

    features: Tensor
    logits: Tensor
    label: Tensor
    index: Tensor
    domain: Tensor


@dataclass(frozen=True)
class Phase:
    """What one epoch trains on.

    Fields:
        name: shown in the history.
        source, target_labeled: whether the task loss reads these rows.
        adapt: whether `adaptation_loss` is added.
        frozen: submodules (`encoder`, `head`, `encoder.layers.0`, ...) that stay bit-equal, running statistics too,
            or single parameters.
        lr_scale: factor on every learning rate.
        selectable: whether a selection rule may choose the epoch; False where the method has not yet begun.
    """

    name: str = "train"
    source: bool = True
    target_labeled: bool = True
    adapt: bool = True
    frozen: tuple[str, ...] = ()
    lr_scale: float = 1.0
    selectable: bool = True


class AdaptationModule(L.LightningModule):
    """Minimises  L = mean of the task losses on rows with labels  +  the sum of `adaptation_loss`.

    The task loss is `outcome.loss`. Losses are computed in float32 outside autocast. With several processes, the rows
    that `adaptation_loss` sees are those of all ranks (`ranks.gather_rows`), so that a term that couples samples has
    the value and the gradient of one process holding the global batch; `couples_ranks` opts out.

    Args:
        config: group `method`.
        encoder: inputs -> features.
        outcome: what is predicted; it makes the head and the task loss.
        optimizer: group `optimizer`.
        epochs: length of the run, for phases and ramps.

    Hooks, of which a method overrides the fewest it can: `build`, `adaptation_loss`, `source_weights`, `prepare`,
    `phase`, `parameter_groups`.
    """

    #: Whether there are gradient steps; False where all is fitted in `prepare`, and the run has one epoch without one.
    trains: bool = True
    #: Of whatever `prepare` draws.
    seed: int = 0
    #: Sides of the paired batch that the method reads; the loader gathers no others.
    reads: ClassVar[frozenset[str]] = frozenset(("source", "target", "target_labeled"))
    #: True: `adaptation_loss` sees this rank's rows and couples the ranks itself, with the gradient that gathered
    #: rows would have, but without every rank doing the work of all.
    couples_ranks: ClassVar[bool] = False

    def __init__(
        self, config: MethodConfig, encoder: Encoder, *, outcome: Outcome, optimizer: OptimizerConfig, epochs: int
    ):
        super().__init__()
        self.config, self.optimizer_config, self.epochs = config, optimizer, epochs
        self.encoder = encoder
        self.outcome = outcome
        self.head = outcome.head(encoder.out_features)
        self.total_steps: int | None = None  # known when training starts
        self._term_sums: dict[str, Tensor] = {}
        self._term_steps = 0
        self._accounted_epoch = self._entered_epoch = -1
        self._phase: Phase | None = None
        self.facts: dict[str, Any] = {}  # what `prepare` found out, for the result record
        self.row_weights = Fitted() if config.weighting is not None else None
        self.build()

    @property
    def classes(self) -> int:
        """Number of outputs."""
        return self.outcome.width

    @property
    def regression(self) -> bool:
        """Whether the one output is a number; methods are to ask the outcome instead."""
        return self.outcome.kind == "regression"

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
        return None

    def build(self) -> None:
        """Make what the method owns beside encoder and head (a discriminator, buffers)."""

    def adaptation_loss(self, source: Encoded, target: Encoded) -> dict[str, Tensor]:
        """Return the method's named terms, weighted, each a scalar. Target labels are hidden."""
        return {}

    def source_weights(self, source: Encoded, target: Encoded | None) -> Tensor | None:
        """Return a weight (n,) for each source row's task loss, of mean about 1; None for equal weights.

        By default the weights that `method.weighting` gave the rows.
        """
        return None if self.row_weights is None else self.row_weights.source[source.index]

    def prepare(self, source: Samples, target: Samples, target_labeled: Samples | None) -> None:
        """See the whole training rows once, before the first step, and keep what is fitted in buffers.

        By default it weighs the source rows where `method.weighting` asks for it: call it first.
        """
        if self.row_weights is not None:
            weights = weigh_rows(source, target, self.encoder.spec, self.config.weighting, seed=self.seed)
            self.row_weights.keep(source=weights.weight.to(source.label.device, torch.float32))
            self.facts["weighting"] = weights.facts

    def phase(self, epoch: int) -> Phase:
        """Say what `epoch` trains on: a pure function of the epoch, so that a resumed run is in the right phase."""
        return Phase()

    def parameter_groups(self) -> list[dict]:
        """Return the optimiser's groups; `lr` of a group is relative to nothing, so give it in full."""
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
        """Put in force, one after another, the weights of a curve for the record and say what each is (`alpha`, ...);
        at the end those that were chosen."""
        return iter(())

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
        if features.dtype in (torch.bfloat16, torch.float16):
            features = features.float()
        if logits.dtype in (torch.bfloat16, torch.float16):
            logits = logits.float()
        return Encoded(features, logits, samples.label, samples.index, samples.domain)

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

    def loss_terms(self, batch: PairedBatch, phase: Phase) -> dict[str, Tensor]:
        """Return every term of the loss, by name."""
        wants_pair = phase.adapt and type(self).adaptation_loss is not AdaptationModule.adaptation_loss
        source = None
        if batch.source is not None and (phase.source or wants_pair):
            source = self.encode(batch.source, is_source=True)
        target = self.encode(batch.target) if batch.target is not None and wants_pair else None
        labeled = batch.target_labeled if phase.target_labeled else None
        with torch.autocast(self.device.type, enabled=False):
            terms = {}
            if phase.source and source is not None:
                terms["source_task"] = self.task_loss(source, self.source_weights(source, target))
        if labeled is not None:
            encoded = self.encode(labeled)
            with torch.autocast(self.device.type, enabled=False):
                terms["target_task"] = self.task_loss(encoded)
        if len(terms) == 2:
            terms = {name: term / 2 for name, term in terms.items()}
        if wants_pair:
            with torch.autocast(self.device.type, enabled=False):
                pair = (source, target) if self.couples_ranks else (_gathered(source), _gathered(target))
                terms |= self.adaptation_loss(*pair)
        if not terms:
            raise RuntimeError(f"{type(self).__name__} has nothing to train on in phase {phase.name!r}")
        return terms

    def training_step(self, batch: PairedBatch, batch_idx: int) -> Tensor:
        phase = self._phase or self.phase(self.current_epoch)
        try:
            terms = self.loss_terms(batch, phase)
        except ValueError as error:
            refuse_few_rows(batch, error)
            raise
        loss = torch.stack(list(terms.values())).sum() if len(terms) > 1 else next(iter(terms.values()))
        self._account(terms, loss.detach())
        if self._trainer is None or self.trainer.accumulate_grad_batches == 1:
            return loss
        factors = [factor_on_loss(self.trainer, batch_idx, self.averaged_over(name, phase)) for name in terms]
        return torch.stack([factor * term for factor, term in zip(factors, terms.values(), strict=True)]).sum()

    def averaged_over(self, term: str, phase: Phase) -> str | None:
        """Return the side over whose rows a term of `loss_terms` is a mean, None for any other term.

        It says what the batches of one accumulated gradient weigh: by their rows of that side, else all alike.
        """
        return {"source_task": "source", "target_task": "target_labeled"}.get(term)

    def _account(self, terms: dict[str, Tensor], loss: Tensor) -> None:
        # Sums stay on the device: logging a step costs no synchronisation.
        for name, term in terms.items():
            term = term.detach()
            present = self._term_sums.get(name)
            if present is None:
                self._term_sums[name] = term.clone()
            else:
                present.add_(term)
        self._term_steps += 1
        if loss.device.type == "cpu":
            if not math.isfinite(loss.item()):
                _refuse_non_finite(terms, self.global_step)
        elif self._term_steps % READ_EVERY_N_STEPS == 0:
            _refuse_non_finite(self._term_sums, self.global_step)

    def mean_terms(self) -> dict[str, float]:
        """Return the mean of each term over the epoch's steps and the ranks, every one of which must call it;
        `NonFiniteLoss` where one is not finite."""
        _refuse_non_finite(self._term_sums, self.global_step)
        if not ranks.is_distributed():
            return {name: total.item() / self._term_steps for name, total in self._term_sums.items()}
        return {name: total.mean().item() / self._term_steps for name, total in self._sums_of_ranks().items()}

    def _sums_of_ranks(self) -> dict[str, Tensor]:
        """Sum of each term on every rank (ranks,), on the CPU."""
        return {name: ranks.gather_rows(total[None]).cpu() for name, total in self._term_sums.items()}

    # Lightning

    def on_train_start(self) -> None:
        # Not earlier: asking for it makes the loader, and a resumed run must first have its state restored.
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

    def configure_optimizers(self):
        if not self.trains:
            return None
        settings = self.optimizer_config
        groups = self.parameter_groups()
        if settings.name == "sgd":
            optimizer = torch.optim.SGD(
                groups, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
            )
        else:
            kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.name]
            optimizer = kind(groups, lr=settings.lr, weight_decay=settings.weight_decay)
        phased = type(self).phase is not AdaptationModule.phase
        if settings.schedule == "constant" and not phased:
            return optimizer
        # A plain function: the scheduler would put the attributes of any other callable into its state.
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.lr_factor(step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def lr_factor(self, step: int) -> float:
        """Factor on every learning rate at a step of the optimiser: the schedule's times the phase's."""
        # The length is known once training starts; before, the scheduler asks for step 0 only.
        progress = min(1.0, step / self.total_steps) if self.total_steps else 0.0
        epoch = min(self.epochs - 1, int(progress * self.epochs + 1e-9))
        return schedule_factor(self.optimizer_config.schedule, progress) * self.phase(epoch).lr_scale


def schedule_factor(schedule: str, progress: float) -> float:
    """Factor on the learning rate at `progress` in [0, 1].

    constant: 1. cosine: (1 + cos(pi p)) / 2. inverse: (1 + 10 p)^-0.75 (Ganin et al. 2016, section 5.2).
    """
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * progress))
    if schedule == "inverse":
        return (1.0 + 10.0 * progress) ** -0.75
    return 1.0


def refuse_few_rows(batch: PairedBatch, error: ValueError) -> None:
    """Say by its key that a batch has too few rows, where a norm or a term of the loss says so of its tensors.

    Raises:
        ConfigError: a side of the batch has `FEW_ROWS` rows or fewer.
    """
    sizes = {side: samples.size for side, samples in zip(batch._fields, batch, strict=True) if samples is not None}
    if isinstance(error, UserError) or min(sizes.values()) > FEW_ROWS:
        return
    has = " and ".join(f"{rows} {side} row{'s' * (rows != 1)}" for side, rows in sizes.items())
    raise ConfigError(
        f"data.batch_size: a batch of {has} is too small ({str(error).splitlines()[0]}); wants larger batches, more "
        "rows of that side, or an encoder without batch norm"
    ) from error


def _gathered(rows: Encoded) -> Encoded:
    if not ranks.is_distributed():
        return rows
    (counts,) = ranks.row_counts(rows.label)
    return Encoded(*(ranks.gather_rows(tensor, counts) for tensor in rows))


def _refuse_non_finite(terms: dict[str, Tensor], step: int) -> None:
    for name, term in terms.items():
        if not bool(torch.isfinite(term)):
            raise NonFiniteLoss(
                f"the loss term {name!r} is {term.item()} at step {step}; a smaller optimizer.lr may help"
            )
