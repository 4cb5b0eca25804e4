"""Methods that begin with a finished run and see the target's rows alone, without labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tl_research.config import MethodConfig, above, at_least, by_content, check
from tl_research.data.batch import Samples
from tl_research.evaluation.measure import predict
from tl_research.methods.base import AdaptationModule, Phase
from tl_research.methods.step import Step
from tl_research.nn.fitted import Fitted
from tl_research.nn.held import hold_still
from tl_research.storage.start import start_content


@dataclass
class SourceFreeConfig(MethodConfig):
    """What every method has that starts from a finished run of the source: that run, and its own step size."""

    # cached: a run of source_only, carried out once for all methods; or the path of a run folder or of its model.ckpt.
    start: str = by_content(start_content, default="cached")
    source_epochs: int | None = at_least(1, default=None)  # of the cached run; None: trainer.max_epochs
    lr_scale: float = above(0, default=0.1)  # factor on optimizer.lr, the cached run's

    def __post_init__(self):
        super().__post_init__()
        wants = "cached, or the path of a run's folder: the source is a run of its own"
        check(self.start not in ("", "phases"), "method.start", self.start, wants)
        alone = self.source_epochs is None or self.start == "cached"
        check(alone, "method.source_epochs", self.source_epochs, "nothing: method.start names a run that is finished")


class SourceFree(AdaptationModule):
    """Encoder and head of a finished run, adapted by `terms` of target rows without labels.

    The data module reads no source row (`data.target_alone`), so that batches have `target` alone.

    Hooks, beside those of `AdaptationModule`: `trainable`.
    """

    reads = frozenset(("target",))

    def trainable(self, name: str) -> bool:
        """Return whether a parameter, by its full name, is trained: a pure function of it. By default the encoder's."""
        return not name.startswith("head.")

    def start_from(self, model: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Take over encoder and head of a finished run."""
        wanted = {name: value for name, value in model.items() if name.startswith(("encoder.", "head."))}
        self.load_state_dict({**self.state_dict(), **wanted})
        self.facts["start"] = facts

    def phase(self, epoch: int) -> Phase:
        return Phase("target", source=False, target_labeled=False, lr_scale=self.config.lr_scale)

    def parameter_groups(self) -> list[dict]:
        return [{"params": [parameter for name, parameter in self.named_parameters() if self.trainable(name)]}]

    def _enter(self, phase: Phase) -> None:
        super()._enter(phase)
        hold_still(self, self.trainable)

    @torch.no_grad()
    def encoded_rows(self, rows: Samples) -> tuple[Tensor, Tensor]:
        """Return features (n, d) and class probabilities (n, C) of all rows, as the run measures them."""
        features, logits = predict(self, rows.inputs)
        return features.to(rows.label.device), logits.softmax(dim=1).to(rows.label.device)


class RemembersTarget(SourceFree):
    """Keeps the latest features and class probabilities of every target row.

    `memory` has `features` (rows, d) and `probability` (rows, C). They are of the finished run at first, then of the
    latest batch that had the row. `terms` calls `remember(step)`.
    """

    @classmethod
    def needs_whole_weights(cls) -> str | None:
        return "encodes all target rows with the finished run's weights before the first step"

    def build(self) -> None:
        self.memory = Fitted()

    def prepare(self, source: Samples | None, target: Samples, target_labeled: Samples | None) -> None:
        super().prepare(source, target, target_labeled)
        features, probability = self.encoded_rows(target)
        self.memory.keep(features=features, probability=probability)

    def remember(self, step: Step) -> None:
        """Note what the step makes of its rows; `after_step` keeps it."""
        rows = step.target
        step.keep(features=rows.features.detach(), probability=rows.logits.detach().softmax(dim=1), index=rows.index)

    def after_step(self, step: Step) -> None:
        index, memory = step.kept("index"), self.memory
        memory.features[index] = step.kept("features").to(memory.features.dtype)
        memory.probability[index] = step.kept("probability").to(memory.probability.dtype)
