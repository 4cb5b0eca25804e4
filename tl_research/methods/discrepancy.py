"""`FeatureDiscrepancy`: what methods share that differ by one distance between two batches of features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tl_research.config import MethodConfig, at_least
from tl_research.methods.base import AdaptationModule
from tl_research.methods.step import Step


@dataclass
class DiscrepancyConfig(MethodConfig):
    """Options common to methods of one distance: its weight."""

    weight: float = at_least(0, default=1.0)


class FeatureDiscrepancy(AdaptationModule):
    """Minimises  CE(source) + weight * discrepancy(f_S, f_T)  of the features of a batch of both domains.

    A subclass says what the discrepancy is. It sees the rows of all ranks.
    """

    config: DiscrepancyConfig

    def discrepancy(self, source: Tensor, target: Tensor) -> Tensor:
        """Return the distance of features (n, d) and (m, d), a scalar with a gradient to both."""
        raise NotImplementedError

    def terms(self, step: Step) -> dict[str, Tensor]:
        value = self.discrepancy(step.source.features, step.target.features)
        return {self.config.name: self.config.weight * value}

    def _generator(self) -> torch.Generator:
        """Return a generator on the CPU, the same on every rank: a function of the seed and the number of the step."""
        # A CPU generator reads 32 bits of its seed; both numbers are mixed into them.
        mixed = np.random.SeedSequence([self.seed, self.global_step]).generate_state(1)
        return torch.Generator().manual_seed(int(mixed[0]))
