"""`measure`: a model and evaluation splits -> figures, the same for a callback, a method's choice and a new file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch
from torch import Tensor

from tl_research.data.batch import Inputs, Samples, row_count
from tl_research.errors import NonFiniteLoss
from tl_research.evaluation.saved import save_outputs
from tl_research.evaluation.validators import density_ratio, mixtures
from tl_research.metrics.registered import higher_is_better
from tl_research.outcomes.base import Outcome
from tl_research.parallel.ranks import from_rank_zero, rank
from tl_research.parallel.sharding import is_sharded
from tl_research.registry import RULES

#: Rows per prediction batch; large because nothing is kept for a backward pass.
PREDICT_ROWS = 4096
TEST = "target_test"


class Measured(NamedTuple):
    """What `measure` found.

    Fields:
        figures: `<split>/<metric>`, of a split with rows of several domains also `<split>/<metric>@<domain>`, `@mean`
            and `@worst`, and the score of every rule that reads what the model makes of rows, under the rule's name.
        interval: ends of the 95 % interval of one figure on the test rows of the target; None where there is none.
        predict_samples_per_s: test rows of the target per second; None where they are not measured.
    """

    figures: dict[str, float]
    interval: tuple[float, float] | None = None
    predict_samples_per_s: float | None = None


def measure(
    module: L.LightningModule,
    splits: Mapping[str, Samples],
    outcome: Outcome,
    *,
    training: Mapping[str, Inputs] | None = None,
    domains: Sequence[str] = (),
    shown: str | None = None,
    chosen_by: str | None = None,
    save_to: Path | None = None,
    context: Any = None,
) -> Measured:
    """Measure a model. Of several processes every one must call it.

    Rank 0 measures and the others wait for its numbers. Where weights are shared out, all measure the same rows,
    since each has a part of what `forward` needs.

    Args:
        module: an `AdaptationModule`.
        splits: rows with their labels, as the data have them; those called `source...` are of source domains.
        outcome: what is predicted.
        training: inputs of training rows, `source` and `target`, that rules read; without them no rule is scored.
        domains: names of the domains, by the ids of `Samples.domain`; without them no domain is measured by itself.
        shown: metric whose interval on `target_test` is wanted.
        chosen_by: rule that is to be scored even where it is offline.
        save_to: file for all that rules read of the model (`evaluation.saved`); rank 0 writes it.
        context: function that gives a context manager, such as a precision plugin's `forward_context`.

    Raises:
        NonFiniteLoss: a prediction is nan or infinite.
    """

    def measured() -> Measured:
        seen = _Seen(module, splits, training or {}, outcome, context)
        found = _measured(seen, domains, shown, chosen_by)
        if save_to is not None:
            # Of a model whose weights are shared out every rank must predict; one writes.
            values = {read: seen[read] for read in seen.reads()}
            if rank() == 0:
                save_outputs(save_to, values)
        return found

    if not is_sharded(module):
        return from_rank_zero(measured)
    found = measured()
    return from_rank_zero(lambda: found)


def _measured(seen: _Seen, domains: Sequence[str], shown: str | None, chosen_by: str | None) -> Measured:
    figures: dict[str, float] = {}
    interval = speed = None
    for name, split in seen.splits.items():
        begun = perf_counter()
        outputs = seen[f"{name}/outputs"]
        if name == TEST:
            speed = split.size / (perf_counter() - begun)
        values = seen.outcome.metrics(outputs, split.label)
        if name == TEST and shown in values:
            ends = seen.outcome.interval(shown, values[shown], outputs, split.label)
            interval = None if ends is None else (float(ends[0]), float(ends[1]))
        values |= _of_domains(seen.outcome, outputs, split, domains)
        figures |= {f"{name}/{metric}": value for metric, value in values.items()}
    for rule in RULES.values() if seen.training else ():
        if rule.reads_model and (not rule.offline or rule.name == chosen_by) and seen.provides(rule):
            score = rule.function(*(seen[read] for read in rule.reads))
            if score is not None:
                figures[rule.name] = float(score)
    return Measured(figures, interval, speed)


def _of_domains(outcome: Outcome, outputs: Tensor, split: Samples, names: Sequence[str]) -> dict[str, float]:
    """Return `<metric>@<domain>` of each domain, and the mean and the worst where every domain has a value.

    It is empty where all rows are of one domain.
    """
    present = split.domain.unique().tolist()
    if len(present) < 2 or not names:
        return {}
    parts = [split.domain == domain for domain in present]
    of_domain = [outcome.metrics(outputs[rows], split.label[rows]) for rows in parts]
    figures: dict[str, float] = {}
    for metric in dict.fromkeys(metric for metrics in of_domain for metric in metrics):
        values = {names[domain]: found[metric] for domain, found in zip(present, of_domain) if metric in found}
        figures |= {f"{metric}@{name}": value for name, value in values.items()}
        if len(values) == len(present):
            worst = min if higher_is_better(metric) else max
            figures |= {f"{metric}@mean": float(np.mean([*values.values()])), f"{metric}@worst": worst(values.values())}
    return figures


class _Seen:
    """What a rule may read, `<part>/<what>`, each made on first use and kept."""

    def __init__(
        self,
        module: L.LightningModule,
        splits: Mapping[str, Samples],
        training: Mapping[str, Inputs],
        outcome: Outcome,
        context: Any,
    ):
        self.module, self.splits, self.training = module, splits, training
        self.outcome, self.context = outcome, context
        self._made: dict[str, Any] = {}

    def provides(self, rule: Any) -> bool:
        """Whether the rule scores this kind of outcome, and all rows that it reads are there."""
        fits = rule.of is None or self.outcome.kind in rule.of
        mixes = not any(read.endswith("/mixed_outputs") for read in rule.reads) or _are_numbers(self.training["target"])
        return fits and mixes and all(part in self.splits or part in self.training for part in rule.parts)

    def reads(self) -> list[str]:
        """Return all that any rule may read here."""
        rules = [rule for rule in RULES.values() if rule.reads_model and self.provides(rule)]
        return list(dict.fromkeys(read for rule in rules for read in rule.reads))

    def __getitem__(self, read: str) -> Any:
        if read not in self._made:
            part, _, what = read.partition("/")
            if what == "losses":
                outputs, label = self[f"{part}/outputs"], self.splits[part].label
                self._made[read] = self.outcome.row_losses(outputs.double(), self.outcome.scaled(label))
            elif what == "labels":
                self._made[read] = self.splits[part].label
            elif what == "mixed_outputs":
                self._made[read] = self._predicted(mixtures(self.training[part]), part)[1]
            elif what == "density_ratio":
                rows = (self["source/features"], self["target/features"], self[f"{part}/features"])
                self._made[read] = density_ratio(*rows)
            else:
                inputs = self.splits[part].inputs if part in self.splits else self.training[part]
                predicted = self._predicted(inputs, part)
                self._made |= {f"{part}/features": predicted[0], f"{part}/outputs": predicted[1]}
        return self._made[read]

    def _predicted(self, inputs: Inputs, part: str) -> tuple[Tensor, Tensor]:
        return _predict_finite(self.module, inputs, is_source=part.startswith("source"), context=self.context)


def _are_numbers(inputs: Inputs) -> bool:
    """Whether a mixture of two rows is a row: numbers, or images of bytes, but no codes and no several parts."""
    if not isinstance(inputs, Tensor):
        return False
    return inputs.is_floating_point() or (inputs.dtype == torch.uint8 and inputs.ndim == 4)


def predict(
    module: L.LightningModule,
    inputs: Inputs,
    *,
    is_source: bool = False,
    context: Any = None,
    rows: int = PREDICT_ROWS,
) -> tuple[Tensor, Tensor]:
    """Return features and outputs (n, ...) on the CPU, in evaluation mode; every training flag is put back.

    Args:
        module: an `AdaptationModule`.
        inputs: a tensor or named tensors of n rows, on any device.
        is_source: whether they are rows of a source domain.
        context: function that gives a context manager, such as a precision plugin's `forward_context`.
        rows: rows per batch.
    """
    forward = module.forward_source if is_source else module
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    features, outputs = [], []
    # FSDP keeps the buffer of its first gather. A buffer made in inference mode cannot be used in training.
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
                outputs.append(z.float() if z.dtype in (torch.bfloat16, torch.float16) else z)
            return torch.cat(features).cpu(), torch.cat(outputs).cpu()
    finally:
        for part, mode in modes:
            part.training = mode


def _slice(inputs: Inputs, first: int, last: int, device: torch.device) -> Inputs:
    if isinstance(inputs, dict):
        return {name: tensor[first:last].to(device) for name, tensor in inputs.items()}
    return inputs[first:last].to(device)


def _predict_finite(module: L.LightningModule, inputs: Inputs, **options: Any) -> tuple[Tensor, Tensor]:
    """`predict`, where nan and infinity say that the training has diverged."""
    for name, values in zip(("features", "logits"), predicted := predict(module, inputs, **options), strict=True):
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            raise NonFiniteLoss(
                f"the {name} are nan or infinite after epoch {module.current_epoch}; a smaller optimizer.lr may help"
            )
    return predicted
