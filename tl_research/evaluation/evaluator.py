"""The callback that measures a run after every epoch and keeps its history.

It alone holds the labels of the evaluation splits; the method is only ever asked for predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch

from tl_research.data.batch import Samples
from tl_research.evaluation.measure import TEST, Measured, measure, predict
from tl_research.evaluation.saved import outputs_file
from tl_research.outcomes.base import Outcome

#: Training rows per side that selection rules read.
VALIDATOR_ROWS = 2000


class Evaluator(L.Callback):
    """After every epoch: figures of every split, scores of the selection rules, mean training terms; one history row.

    Args:
        splits: evaluation splits with their labels.
        source, target: training rows; rules read a fixed random part of their inputs. A run that reads no source row
            has no `source`.
        outcome: what is predicted.
        seed: of that draw.
        domains: names of the domains, by the ids of `Samples.domain`.
        shown: metric whose interval the record keeps; default `outcome.main`.
        chosen_by: rule of the run, which is scored even where it is offline.
        save_in: folder of a run, for what rules read of each epoch; None: it is not kept.
        every: epochs of training from one measurement to the next; the last one is always measured. The history of the
            others has the training terms alone.
    """

    def __init__(
        self,
        splits: Mapping[str, Samples],
        source: Samples | None,
        target: Samples,
        *,
        outcome: Outcome,
        seed: int,
        domains: Sequence[str] = (),
        shown: str | None = None,
        chosen_by: str | None = None,
        save_in: Path | None = None,
        every: int = 1,
    ):
        self.chosen_by, self.save_in, self.every = chosen_by, save_in, every
        self.splits, self.outcome, self.domains = splits, outcome, domains
        self.shown = shown or outcome.main
        generator = torch.Generator().manual_seed(seed)
        sides = {"source": source, "target": target}
        self._training = {name: _draw(side, generator).inputs for name, side in sides.items() if side is not None}
        self.history: list[dict[str, Any]] = []
        #: epoch -> ends of the 95 % interval of `shown` on target_test.
        self.intervals: dict[int, list[float]] = {}
        self.predict_samples_per_s: list[float] = []

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        epoch = trainer.current_epoch
        row: dict[str, Any] = {"epoch": epoch, "step": trainer.global_step}
        if not module.phase(epoch).selectable:
            row["selectable"] = False
        row |= {f"train/{name}": value for name, value in module.mean_terms().items()}
        if self._is_due(trainer):
            save_to = None if self.save_in is None else outputs_file(self.save_in, epoch)
            found = self.measure(module, trainer.precision_plugin.forward_context, save_to=save_to)
            row |= found.figures
            if found.interval is not None:
                self.intervals[epoch] = list(found.interval)
            if found.predict_samples_per_s is not None:
                self.predict_samples_per_s.append(found.predict_samples_per_s)
        self.history.append(row)
        if trainer.logger is not None:
            trainer.logger.log_metrics({k: v for k, v in row.items() if k not in ("step",)}, step=trainer.global_step)

    def _is_due(self, trainer: L.Trainer) -> bool:
        epoch = trainer.current_epoch
        # What is fitted, not trained, has one epoch.
        is_last = not trainer.training or epoch + 1 == trainer.max_epochs or trainer.global_step == trainer.max_steps
        return is_last or (epoch + 1) % self.every == 0

    def measure(self, module: L.LightningModule, context: Any = None, save_to: Path | None = None) -> Measured:
        """Measure a model on all splits, by every rule; every rank must call it."""
        return measure(
            module,
            self.splits,
            self.outcome,
            training=self._training,
            domains=self.domains,
            shown=self.shown,
            chosen_by=self.chosen_by,
            save_to=save_to,
            context=context,
        )

    def left_out(self, module: L.LightningModule, part: np.ndarray, context: Any = None) -> list[float | None]:
        """Return `shown` of a model on the target's test rows without each part (n,) of them."""
        test = self.splits[TEST]
        _, outputs = predict(module, test.inputs, context=context)
        return self.outcome.left_out(self.shown, outputs, test.label, part)

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history, "intervals": self.intervals}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history = list(state["history"])
        self.intervals = dict(state.get("intervals", {}))


def _draw(samples: Samples, generator: torch.Generator) -> Samples:
    if samples.size <= VALIDATOR_ROWS:
        return samples
    return samples.rows(torch.randperm(samples.size, generator=generator)[:VALIDATOR_ROWS].sort().values)
