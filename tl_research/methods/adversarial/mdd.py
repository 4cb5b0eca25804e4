"""Margin disparity discrepancy."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.config import above, at_least
from tl_research.losses.adversarial import ganin_ramp, reverse_gradient
from tl_research.losses.classifier_games import margin_disparity
from tl_research.methods.base import Step
from tl_research.methods.two_heads import TwoHeads, TwoHeadsConfig
from tl_research.registry import register_method


@dataclass
class MDDConfig(TwoHeadsConfig):
    """Options of `mdd`: the weight of the reversed gradient and its ramp, the margin, and the heads."""

    name: str = "mdd"
    weight: float = at_least(0, default=0.1)  # eta: of the reversed gradient, at the end of the ramp
    ramp: bool = True  # eta grows with progress as 2 / (1 + exp(-10 p)) - 1; otherwise it is constant
    margin: float = above(0, default=4.0)  # gamma


@register_method(
    "mdd",
    config=MDDConfig,
    family="adversarial",
    settings=("unsupervised", "few_shot"),
    targets=("class",),
    paper="Zhang et al. 2019, ICML, section 5",
    no_null="its value on equal domains depends on how sure the auxiliary head has become",
    no_gain="held against source_only on two moons (tests/methods/test_games.py)",
)
class MDD(TwoHeads):
    """An auxiliary head agrees with the head on source rows and not on target rows; the encoder leaves it no room.

    min over encoder and head, max over the auxiliary head f' of
    CE(source) - eta * [gamma mean_S -ln σ_ŷ(f') + mean_T -ln(1 - σ_ŷ(f'))], ŷ the head's prediction, in one pass:
    f' descends the bracket and the reversed gradient reaches the encoder with factor eta. The head sees nothing
    of the game but the features. Public code cuts the second logarithm off at 1 - σ = 1e-6; here it is exact.
    """

    def terms(self, step: Step) -> dict[str, Tensor]:
        scale = self.config.weight * (ganin_ramp(step.progress) if self.config.ramp else 1.0)
        source, target = step.source, step.target
        value = margin_disparity(
            self.second(reverse_gradient(source.features, scale)),
            source.logits.argmax(dim=1),
            self.second(reverse_gradient(target.features, scale)),
            target.logits.argmax(dim=1),
            margin=self.config.margin,
        )
        return {"disparity": value}
