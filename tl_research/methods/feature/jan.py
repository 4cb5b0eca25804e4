"""Joint adaptation network: equal joint distributions of features and class probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from tl_research.config import MethodConfig, above, at_least
from tl_research.kernels import bandwidth_ladder, joint_mmd2
from tl_research.methods.base import AdaptationModule, Step
from tl_research.registry import register_method


@dataclass
class JANConfig(MethodConfig):
    """Options of `jan`: the weight of the joint MMD², and the kernels of both layers."""

    name: str = "jan"
    weight: float = at_least(0, default=5.0)
    # Number of Gaussian kernels of the features, a ladder of ratio 2 around the mean squared distance.
    bandwidths: int = at_least(1, default=5)
    probability_scale: float = above(0, default=1.68)  # s of the one kernel exp(-||p - q||² / s) of the probabilities


@register_method(
    "jan",
    config=JANConfig,
    family="feature",
    settings=("unsupervised", "few_shot"),
    targets=("class",),
    paper="Long et al. 2017, ICML, eq. 7 to 10 (JAN-xy of features and probabilities)",
    null=0.0,
    gain=0.02,
)
class JAN(AdaptationModule):
    """Align features f and class probabilities p together: CE(source) + weight * JMMD_u²((f, p)_S, (f, p)_T) / B.

    The kernel of a row is the product of the kernels of its layers. The statistic is unbiased, hence signed. The sum
    over the B kernels of the features is divided by B: public code leaves that out, so that its trade-off of 1 with
    five kernels is 5 of this `weight`.

    Kernel matrices of every layer take a step to three times that of `source_only` (docs/step_cost.md).
    """

    config: JANConfig

    def terms(self, step: Step) -> dict[str, Tensor]:
        x, y = ([side.features, side.logits.softmax(dim=1)] for side in (step.source, step.target))
        ladder = bandwidth_ladder(x[0], y[0], count=self.config.bandwidths)
        value = joint_mmd2(x, y, bandwidths=[ladder, [math.sqrt(self.config.probability_scale / 2)]])
        return {"jmmd": self.config.weight * value / self.config.bandwidths}
