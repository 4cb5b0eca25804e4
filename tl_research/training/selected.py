"""The weights of the selected epoch, kept as `model.ckpt`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L

from tl_research.evaluation.selection import best_epoch
from tl_research.parallel.sharding import whole_state
from tl_research.storage.checkpoints import MODEL_FORMAT, write_model_file
from tl_research.storage.names import MODEL_FILE


class KeepSelected(L.Callback):
    """Writes `model.ckpt` whenever the selection rule picks the epoch that has just been measured.

    Args:
        folder: the run's folder.
        evaluator: whose history the rule reads.
        rule: a realistic rule; `oracle` is refused.
        metric: of the rules that read a metric.
        extra: what prediction needs beside the weights, of tensors, numbers, strings, lists and dicts only.
    """

    def __init__(self, folder: Path, evaluator, *, rule: str, metric: str, extra: dict[str, Any]):
        if rule == "oracle":
            raise ValueError("the kept checkpoint must not depend on target test labels")
        self.path = Path(folder) / MODEL_FILE
        self.evaluator, self.rule, self.metric, self.extra = evaluator, rule, metric, extra
        self.kept_epoch: int | None = None

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.rule != "last" and best_epoch(self.evaluator.history, self.rule, self.metric) == trainer.current_epoch:
            self._keep(trainer, pl_module, trainer.current_epoch)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.rule == "last":
            self.keep_last(trainer, pl_module)

    def keep_last(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Keep the weights as they are: where the rule has had no score in any epoch."""
        self._keep(trainer, module, self.evaluator.history[-1]["epoch"])

    def _keep(self, trainer: L.Trainer, module: L.LightningModule, epoch: int) -> None:
        self.kept_epoch = epoch
        weights = whole_state(module)
        if trainer.is_global_zero:
            weights = {name: value.detach().cpu() for name, value in weights.items()}
            content = {"format": MODEL_FORMAT, "epoch": epoch, "model": weights, **self.extra}
            write_model_file(self.path.parent, content)
