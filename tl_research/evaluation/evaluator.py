"""The callback that measures a run after every epoch and keeps its history.

It alone holds the labels of the evaluation splits; the method is only ever asked for predictions.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor

from tl_research.data.batch import Inputs, Samples, row_count
from tl_research.data.paired import EvaluationSplit
from tl_research.errors import NonFiniteLoss
from tl_research.evaluation.validators import deep_embedded_validation, information_maximization
from tl_research.metrics.classes import classification_metrics
from tl_research.metrics.intervals import number_interval
from tl_research.metrics.numbers import regression_metrics
from tl_research.outcomes.label_scale import LabelScale
from tl_research.parallel.ranks import from_rank_zero
from tl_research.parallel.sharding import is_sharded

#: Rows a prediction batch; large because nothing is kept for a backward pass.
PREDICT_ROWS = 4096
#: Training rows a side that the unsupervised validators read.
VALIDATOR_ROWS = 2000


def predict(
    module: L.LightningModule,
    inputs: Inputs,
    *,
    is_source: bool = False,
    context: Any = None,
    rows: int = PREDICT_ROWS,
) -> tuple[Tensor, Tensor]:
    """Return features and logits (n, ...) on the CPU, in evaluation mode; every training flag is put back.

    Args:
        module: an `AdaptationModule`.
        inputs: a tensor or named tensors of n rows, on any device.
        is_source: whether they are rows of a source domain.
        context: function that gives a context manager, such as a precision plugin's `forward_context`.
        rows: rows a batch.
    """
    forward = module.forward_source if is_source else module
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    features, logits = [], []
    # What a sharded part gathers first it keeps room for: in inference mode that would be of no use for training.
    without_grad = torch.no_grad if is_sharded(module) else torch.inference_mode
    try:
        with without_grad():
            for first in range(0, row_count(inputs), rows):
                batch = _slice(inputs, first, first + rows, module.device)
                if context is None:
                    f, z = forward(batch)
                else:
                    with context():
                        f, z = forward(batch)
                features.append(f.float() if f.dtype in (torch.bfloat16, torch.float16) else f)
                logits.append(z.float() if z.dtype in (torch.bfloat16, torch.float16) else z)
            return torch.cat(features).cpu(), torch.cat(logits).cpu()
    finally:
        for part, mode in modes:
            part.training = mode


def _slice(inputs: Inputs, first: int, last: int, device: torch.device) -> Inputs:
    if isinstance(inputs, dict):
        return {name: tensor[first:last].to(device) for name, tensor in inputs.items()}
    return inputs[first:last].to(device)


class Evaluator(L.Callback):
    """After every epoch: metrics of every split, unsupervised validators, mean training terms; one history row.

    Args:
        splits: evaluation splits with their labels.
        source, target: training rows; the validators read a fixed random part of them. Target labels are hidden.
        seed: of that draw.
        label_scale: of a regression target, whose predictions are measured in its own unit; None for classes.
    """

    def __init__(
        self,
        splits: dict[str, EvaluationSplit],
        source: Samples,
        target: Samples,
        *,
        seed: int,
        label_scale: LabelScale | None = None,
    ):
        self.splits, self.label_scale = splits, label_scale
        generator = torch.Generator().manual_seed(seed)
        self._source_inputs = _draw(source, generator).inputs
        self._target_inputs = _draw(target, generator).inputs
        self.history: list[dict[str, Any]] = []
        #: epoch -> ends of the 95 % interval of R² on target_test, of numbers; of classes the metric's value gives it.
        self.intervals: dict[int, list[float]] = {}
        self._interval: tuple[float, float] | None = None
        self.predict_samples_per_s: list[float] = []

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        row: dict[str, Any] = {"epoch": trainer.current_epoch, "step": trainer.global_step}
        if not module.phase(trainer.current_epoch).selectable:
            row["selectable"] = False
        row |= {f"train/{name}": value for name, value in module.mean_terms().items()}
        row |= self.measure(module, trainer.precision_plugin.forward_context)
        self.history.append(row)
        if self._interval is not None:
            self.intervals[trainer.current_epoch] = list(self._interval)
        if trainer.logger is not None:
            trainer.logger.log_metrics({k: v for k, v in row.items() if k not in ("step",)}, step=trainer.global_step)

    def measure(self, module: L.LightningModule, context: Any = None) -> dict[str, float]:
        """Return `<split>/<metric>` for every split, and the validators `im` (of classes only) and `dev`.

        Of several processes rank 0 measures and the others wait for its numbers: every rank must call it. Where
        weights are shared out all measure the same rows, since each has a part of what `forward` needs.
        """
        if is_sharded(module):
            values = self._measure(module, context)
            return from_rank_zero(lambda: values)
        return from_rank_zero(lambda: self._measure(module, context))

    def _measure(self, module: L.LightningModule, context: Any) -> dict[str, float]:
        values: dict[str, float] = {}
        encoded: dict[str, tuple[Tensor, Tensor]] = {}
        for name, split in self.splits.items():
            begun = perf_counter()
            encoded[name] = _predict_finite(module, split.inputs, is_source=name.startswith("source"), context=context)
            if name == "target_test":
                self.predict_samples_per_s.append(len(split.label) / (perf_counter() - begun))
            metrics = self._metrics(encoded[name][1], split.label)
            if name == "target_test" and self.label_scale is not None:
                predicted = self.label_scale.restored(encoded[name][1][:, 0])
                self._interval = number_interval("r2", predicted.double().numpy(), split.label.double().numpy())
            values |= {f"{name}/{metric}": value for metric, value in metrics.items()}
        target_features, target_logits = _predict_finite(module, self._target_inputs, context=context)
        if self.label_scale is None:
            values["im"] = information_maximization(target_logits)
        if "source_val" not in encoded:
            return values
        source_features, _ = _predict_finite(module, self._source_inputs, is_source=True, context=context)
        val_features, val_logits = encoded["source_val"]
        val_loss = self._row_loss(val_logits.double(), self.splits["source_val"].label)
        risk = deep_embedded_validation(source_features, target_features, val_features, val_loss)
        if risk is not None:
            values["dev"] = risk
        return values

    def _metrics(self, logits: Tensor, label: Tensor) -> dict[str, float]:
        if self.label_scale is None:
            return classification_metrics(logits, label)
        return regression_metrics(self.label_scale.restored(logits[:, 0]), label)

    def _row_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """The task loss of each row (n,), which `dev` re-weights."""
        if self.label_scale is None:
            return F.cross_entropy(logits, label, reduction="none")
        return (logits[:, 0] - self.label_scale.standardised(label)).square()

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history, "intervals": self.intervals}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history = list(state["history"])
        self.intervals = dict(state.get("intervals", {}))


def _predict_finite(module: L.LightningModule, inputs: Inputs, **options: Any) -> tuple[Tensor, Tensor]:
    """`predict`, where nan and infinity say that the training has diverged."""
    for name, values in zip(("features", "logits"), predicted := predict(module, inputs, **options), strict=True):
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            raise NonFiniteLoss(
                f"the {name} are nan or infinite after epoch {module.current_epoch}; a smaller optimizer.lr may help"
            )
    return predicted


def _draw(samples: Samples, generator: torch.Generator) -> Samples:
    if samples.size <= VALIDATOR_ROWS:
        return samples
    return samples.rows(torch.randperm(samples.size, generator=generator)[:VALIDATOR_ROWS].sort().values)
