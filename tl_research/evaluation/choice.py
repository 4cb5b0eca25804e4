"""The callback that lets a method choose the weights that are measured, by target validation labels alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightning as L

from tl_research.data.batch import Samples
from tl_research.evaluation.measure import measure
from tl_research.outcomes.base import Outcome
from tl_research.registry import RULES

VALIDATION = "target_val"


class ChooseWeights(L.Callback):
    """Before an epoch is measured: `choose_weights` of the method, and after the last epoch its `weight_curve`.

    The points of that curve are measured on every split and become the fact `curve` of the record. The callback stands
    before the `Evaluator`.

    Args:
        splits: evaluation splits with their labels.
        outcome: what is predicted.
        metric: the metric by which the rule `target_val` scores.
        domains: names of the domains, by the ids of `Samples.domain`.
    """

    def __init__(self, splits: Mapping[str, Samples], outcome: Outcome, metric: str, *, domains: Sequence[str] = ()):
        self.splits, self.outcome, self.metric, self.domains = splits, outcome, metric, domains

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if not module.phase(trainer.current_epoch).selectable:
            return
        context = trainer.precision_plugin.forward_context
        module.choose_weights(self.score_of(module, context))
        if trainer.current_epoch == trainer.max_epochs - 1:
            options = {"domains": self.domains, "context": context}
            curve = [
                point | measure(module, self.splits, self.outcome, **options).figures for point in module.weight_curve()
            ]
            if curve:
                module.facts["curve"] = curve

    def score_of(self, module: L.LightningModule, context: Any = None) -> Callable[[], tuple[float, float] | None]:
        """Return what `choose_weights` is given: it measures the weights in force; higher is better."""
        if VALIDATION not in self.splits:
            return lambda: None
        validation, rule = {VALIDATION: self.splits[VALIDATION]}, RULES[VALIDATION]

        def score() -> tuple[float, float] | None:
            row = measure(module, validation, self.outcome, context=context).figures
            value = rule.score({"epoch": 0, **row}, self.metric)
            return None if value is None else (value, -(row.get(rule.tie) or 0.0))

        return score
