"""Methods that take a row for `unknown` where the entropy of its known classes is high."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from tl_research.config import MethodConfig, at_least
from tl_research.data.batch import Inputs
from tl_research.losses.label_sets import with_unknown_logit
from tl_research.methods.base import AdaptationModule


@dataclass
class RejectingConfig(MethodConfig):
    """Options of a method that rejects rows by their entropy."""

    # rho: entropy in nats above which a row is unknown; None: half of the largest, ½ ln(known classes).
    threshold: float | None = at_least(0, default=None)


class Rejecting(AdaptationModule):
    """A head of the known classes alone. Outside of training an output for `unknown` follows, where there is the class.

    Hooks, beside those of `AdaptationModule`: `make_head`.
    """

    def build(self) -> None:
        self.head = self.make_head()
        given = self.config.threshold
        self.threshold = 0.5 * math.log(self.outcome.known_width) if given is None else given

    def make_head(self) -> nn.Module:
        """Make the untrained map from features (n, d) to logits of the known classes (n, C)."""
        return nn.Linear(self.encoder.out_features, self.outcome.known_width)

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        features, logits = super().forward(inputs)
        if self.training or not self.outcome.has_unknown:
            return features, logits
        return features, with_unknown_logit(logits, threshold=self.threshold)
