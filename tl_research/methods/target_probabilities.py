"""Methods that differ by one loss of the target rows' class probabilities."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.config import MethodConfig, share
from tl_research.methods.base import AdaptationModule, Step


@dataclass
class LateConfig(MethodConfig):
    """Options of a method that trusts the model's own predictions, once `warm_up` is over.

    The papers begin with pre-trained features. A network from random weights is to learn the source first: a loss that
    makes its first predictions certain holds on to them.
    """

    warm_up: float = share(one=False, default=0.0)  # share of the training that goes by before the terms count


class TargetProbabilities(AdaptationModule):
    """CE(source) + weight * `of_target`(target logits), the second once `warm_up` is over.

    `terms` has the one term, named as the method; its config is a `LateConfig` with a `weight`.
    """

    def of_target(self, logits: Tensor) -> Tensor:
        """Return the loss, a scalar, of the logits (n, classes) of target rows without labels."""
        raise NotImplementedError

    def terms(self, step: Step) -> dict[str, Tensor]:
        weight = self.config.weight if step.progress >= self.config.warm_up else 0.0
        return {self.config.name: weight * self.of_target(step.target.logits)}
