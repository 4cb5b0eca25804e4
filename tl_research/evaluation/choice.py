"""The callback that lets a method choose the weights that are measured, by target validation labels alone."""

from __future__ import annotations

import copy
from collections.abc import Callable

import lightning as L

from tl_research.evaluation.evaluator import Evaluator
from tl_research.evaluation.selection import RULES

VALIDATION = "target_val"


class ChooseWeights(L.Callback):
    """Before an epoch is measured: `choose_weights` of the method, and after the last epoch its `weight_curve`, whose
    points are measured on every split and become the fact `curve` of the record.

    Args:
        evaluator: that measures the epochs; it comes behind this callback.
        metric: the data set's first metric, by which the rule `target_val` scores.
    """

    def __init__(self, evaluator: Evaluator, metric: str):
        self.evaluator, self.metric = evaluator, metric

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if not module.phase(trainer.current_epoch).selectable:
            return
        context = trainer.precision_plugin.forward_context
        module.choose_weights(self._score(module, context))
        if trainer.current_epoch == trainer.max_epochs - 1:
            every = self._only(list(self.evaluator.splits))
            curve = [point | _metrics(every.measure(module, context)) for point in module.weight_curve()]
            if curve:
                module.facts["curve"] = curve

    def _score(self, module: L.LightningModule, context) -> Callable[[], tuple[float, float] | None]:
        if VALIDATION not in self.evaluator.splits:
            return lambda: None
        validation, rule = self._only([VALIDATION]), RULES[VALIDATION]

        def score() -> tuple[float, float] | None:
            row = validation.measure(module, context)
            value = rule.score({"epoch": 0, **row}, self.metric)
            return None if value is None else (value, -(row.get(rule.tie_key) or 0.0))

        return score

    def _only(self, splits: list[str]) -> Evaluator:
        part = copy.copy(self.evaluator)
        part.splits = {name: self.evaluator.splits[name] for name in splits}
        part.predict_samples_per_s = []
        return part


def _metrics(row: dict[str, float | None]) -> dict[str, float]:
    return {key: value for key, value in row.items() if "/" in key and value is not None}
