"""Wasserstein-distance guided representation learning."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.config import MethodConfig, all_at_least, at_least
from tl_research.losses.critic import critic_gap, gradient_penalty, penalised_points
from tl_research.methods.base import AdaptationModule, Step
from tl_research.methods.objectives import Objective
from tl_research.methods.reversal import make_discriminator
from tl_research.nn.counter_random import uniform_rows
from tl_research.registry import register_method


@dataclass
class WDGRLConfig(MethodConfig):
    """Options of `wdgrl`: the weight of the distance, the critic, its steps per batch and its penalty."""

    name: str = "wdgrl"
    weight: float = at_least(0, default=1.0)  # lambda
    penalty: float = at_least(0, default=10.0)  # gamma: of the critic's slopes other than 1
    critic_steps: int = at_least(1, default=5)  # n: steps of the critic per batch
    hidden: list[int] = all_at_least(1, fewest=0, default=[100])  # widths of the critic


@register_method(
    "wdgrl",
    config=WDGRLConfig,
    family="adversarial",
    settings=("unsupervised", "few_shot"),
    paper="Shen et al. 2018, AAAI, section 3 and algorithm 1",
    no_gain="loses 4.7 points on two moons, with its recipe and without (docs/games.md)",
)
class WDGRL(AdaptationModule):
    """Small Wasserstein distance of the features, which a critic w of slope 1 measures.

    Per batch, with gap = mean_S w(f) - mean_T w(f):

        critic, `critic_steps` times:  -gap + penalty * mean (‖∇w‖ - 1)² over all rows and a point between each pair
        encoder and head, once:        CE(source) + weight * gap

    The points between are drawn once per batch. A step takes more than three times as long as that of `source_only`:
    the critic's steps, each with a gradient of a gradient, are the method.
    """

    def build(self) -> None:
        self.critic = make_discriminator(self.encoder.out_features, self.config.hidden, bias=False)

    def objectives(self) -> list[Objective]:
        return [
            Objective("critic", ("critic",), self._measure, every=self.config.critic_steps),
            Objective("features", ("encoder", "head"), self._come_closer),
        ]

    def gap(self, step: Step) -> Tensor:
        """Return the critic's estimate of the Wasserstein distance."""
        return critic_gap(self.critic(step.source.features), self.critic(step.target.features))

    def _measure(self, step: Step) -> dict[str, Tensor]:
        source, target = step.source, step.target
        pairs = min(len(source.index), len(target.index))
        share = uniform_rows(self.seed, self.global_step, 0, source.index[:pairs], 1).squeeze(1)
        points = penalised_points(source.features, target.features, share)
        return {"gap": -self.gap(step), "slope": self.config.penalty * gradient_penalty(self.critic, points)}

    def _come_closer(self, step: Step) -> dict[str, Tensor]:
        return self.task_losses(step) | {"gap": self.config.weight * self.gap(step)}
