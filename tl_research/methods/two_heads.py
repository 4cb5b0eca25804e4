"""Methods of two heads on one encoder."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from tl_research.config import MethodConfig, all_at_least
from tl_research.methods.base import AdaptationModule, Step
from tl_research.nn.mlp import mlp_layers


@dataclass
class TwoHeadsConfig(MethodConfig):
    """Options of a method of two heads of one shape."""

    hidden: list[int] = all_at_least(1, fewest=0, default=[256])  # widths of each head's hidden layers


class TwoHeads(AdaptationModule):
    """A method of two heads, `head` and `second`, of one shape and their own weights. Its config has `hidden`."""

    def build(self) -> None:
        if self.config.hidden:
            self.head = self._head()
        self.second = self._head()

    def _head(self) -> nn.Module:
        width = self.encoder.out_features
        if not self.config.hidden:
            return self.outcome.head(width)
        layers, width = mlp_layers(width, self.config.hidden, activation="relu", dropout=0.0, batch_norm=False)
        return layers.append(self.outcome.head(width))

    def both_tasks(self, step: Step) -> dict[str, Tensor]:
        """Return the phase's task losses of the head, and under `second_...` those of the second head."""
        labelled = [side for side in ("source", "target_labeled") if getattr(step.batch, side) is not None]
        rows = {side: step.local(side) for side in labelled}
        of_second = {side: row._replace(logits=self.second(row.features)) for side, row in rows.items()}
        other = Step(self, step.batch, step.phase, objective=step.objective, encoded=of_second)
        second = {f"second_{name}": loss for name, loss in self.task_losses(other).items()}
        return self.task_losses(step) | second
