"""What measures a run's epochs, and keeps the weights of the one that the selection rule picks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from omegaconf import DictConfig, OmegaConf

from tl_research.data.paired import PairedDataModule
from tl_research.evaluation.choice import ChooseWeights
from tl_research.evaluation.evaluator import Evaluator
from tl_research.evaluation.scorable import rule_of_run
from tl_research.evaluation.selection import select
from tl_research.methods.base import AdaptationModule
from tl_research.registry import DATASETS
from tl_research.training.selected import KeepSelected


class Measuring:
    """The callbacks of a run that measure and keep, and what they found.

    Args:
        config: of the run.
        data: its data module, set up; its evaluation labels are released here.
        folder: of the run, for `model.ckpt`.

    Attributes:
        evaluator: holds splits and history.
        rule: that the weights are kept by; `remark` says why where it is not the one asked for.
    """

    def __init__(self, config: DictConfig, data: PairedDataModule, folder: Path):
        outcome, own_metric = data.outcome, DATASETS.get(config.data.name).metric
        self.outcome, self.metric = outcome, outcome.selection_metric(own_metric)
        self.domains = [*config.data.sources, config.data.target]
        splits = data.release_evaluation()
        self._scorable: dict[str, Any] = {
            "outcome": outcome,
            "shown": data.sides["target_labeled"].size if "target_labeled" in data.sides else None,
        }
        self.rule, self.remark = rule_of_run(
            config.selection.rule, splits, self.metric, from_auto=config.selection.from_auto, **self._scorable
        )
        self.evaluator = Evaluator(
            splits,
            data.sides.get("source"),
            data.sides["target"],
            outcome=outcome,
            seed=config.seed,
            domains=self.domains,
            shown=outcome.shown_metric(own_metric),
            chosen_by=self.rule,
            save_in=folder if config.selection.save_outputs else None,
            every=config.selection.every,
        )
        extra = {
            "config": OmegaConf.to_container(config, resolve=True),
            "transform": data.transform.state_dict(),
            "schema": data.schema and data.schema.state_dict(),
            "outcome": outcome.state_dict(),
        }
        self.keep = KeepSelected(folder, self.evaluator, rule=self.rule, metric=self.metric, extra=extra)

    @property
    def callbacks(self) -> list[L.Callback]:
        """Those of the trainer, in the order in which they must be called: choose weights, measure, keep."""
        choose = ChooseWeights(self.evaluator.splits, self.outcome, self.metric, domains=self.domains)
        return [choose, self.evaluator, self.keep]

    def require_target_val(self) -> None:
        """Refuse, before training, a method that needs target validation labels where the shots leave none."""
        rule_of_run("target_val", self.evaluator.splits, self.metric, from_auto=False, **self._scorable)

    def select(self, trainer: L.Trainer, module: AdaptationModule) -> dict[str, dict[str, float]]:
        """Return the figures of the epoch that each rule picks, and see to it that weights are kept."""
        if self.rule == "last" and self.keep.kept_epoch is None:
            # Resumed behind the last epoch: there was nothing left to train, and no end of training.
            self.keep.on_train_end(trainer, module)
        metrics = select(self.evaluator.history, self.metric)
        if self.rule not in metrics:
            self.remark = (
                f"selection.rule={self.rule}: no epoch has a score by it; the weights of the last epoch are kept"
            )
            self.rule = "last"
            self.keep.keep_last(trainer, module)
        return metrics
