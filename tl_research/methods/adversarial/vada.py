"""Virtual adversarial domain adaptation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.config import above, at_least
from tl_research.errors import ConfigError
from tl_research.losses.adversarial import domain_bce, reverse_gradient
from tl_research.losses.target_probabilities import row_entropies
from tl_research.losses.virtual_adversarial import adversarial_direction, row_divergences
from tl_research.methods.base import AdaptationModule, Step
from tl_research.methods.changed_inputs import changed, width_of_numbers
from tl_research.methods.reversal import ReversalConfig, make_discriminator
from tl_research.nn.counter_random import normal_of_uniform, uniform_rows
from tl_research.registry import register_method

#: Length of the change at which the direction is sought, as a share of the radius. Far below it float32 has no digits
#: of the gradient left for rows of certain predictions, and rounding decides the sign of the direction.
PROBE = 0.1


@dataclass
class VADAConfig(ReversalConfig):
    """Options of `vada`: the reversed gradient, the weights of the other terms, and the length of a change."""

    name: str = "vada"
    weight: float = at_least(0, default=0.01)  # lambda_d: of the reversed gradient
    ramp: bool = False
    source_weight: float = at_least(0, default=1.0)  # lambda_s: of the source rows' virtual adversarial loss
    target_weight: float = at_least(0, default=0.01)  # lambda_t: of the target rows' and of their entropy
    radius: float = above(0, default=3.5)  # length of the change, in units of the inputs


@register_method(
    "vada",
    config=VADAConfig,
    family="adversarial",
    settings=("unsupervised", "few_shot"),
    targets=("class",),
    paper="Shu et al. 2018, ICLR, section 4 (VADA)",
    no_null="virtual adversarial loss and entropy do not compare the domains",
    no_gain="held against source_only on two moons (tests/methods/test_games.py)",
)
class VADA(AdaptationModule):
    """DANN whose decision keeps away from the rows: no small change of a row may change its prediction.

    min over encoder and head, max over D of
    CE(source) - weight * BCE(D(f), domain) + source_weight * V(source) + target_weight * (V(target) + H(target)).

    V is the mean KL of the predictions of a row and of the row changed by `radius` in the direction that changes the
    prediction most (one power iteration), H the mean entropy. The game is played in one pass by a reversed gradient,
    where the authors take turns. The radius is in units of the inputs, and 3.5 is of images: say it by the data.
    Every side is encoded twice more, with a gradient by its inputs: a step takes more than three times as long as
    that of `source_only`.
    """

    def build(self) -> None:
        self.discriminator = make_discriminator(self.encoder.out_features, self.config.hidden)

    @classmethod
    def needs_whole_weights(cls) -> str | None:
        return "differentiates by the inputs within a step"

    def terms(self, step: Step) -> dict[str, Tensor]:
        config, scale = self.config, self.config.scale(step.progress)
        logit_s, logit_t = (
            self.discriminator(reverse_gradient(rows.features, scale)).squeeze(1) for rows in (step.source, step.target)
        )
        return {
            "domain": domain_bce(logit_s, logit_t),
            "source_change": config.source_weight * self._change_loss(step, "source"),
            "target_change": config.target_weight * self._change_loss(step, "target"),
            "target_entropy": config.target_weight * row_entropies(step.target.logits).mean(),
        }

    def _change_loss(self, step: Step, side: str) -> Tensor:
        """Mean divergence of a side's predictions from those of its rows, changed for the worst."""
        rows, wanted = getattr(step.batch, side), getattr(step, side).logits.detach()
        width = width_of_numbers(rows.inputs)
        if not width:
            raise ConfigError("method.name: 'vada' changes numbers a little, and these rows hold none")

        def divergences(change: Tensor) -> Tensor:
            return row_divergences(step.view(side, lambda inputs: changed(inputs, change)).logits, wanted)

        stream = ("source", "target").index(side)
        start = normal_of_uniform(uniform_rows(self.seed, self.global_step, stream, rows.index, width))
        radius = self.config.radius
        direction = adversarial_direction(
            lambda change: divergences(change).sum(), start.to(wanted.dtype), probe=PROBE * radius
        )
        return divergences(radius * direction).mean()
