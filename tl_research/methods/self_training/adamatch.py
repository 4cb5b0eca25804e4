"""AdaMatch: FixMatch between domains."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.config import at_least, share
from tl_research.losses.pseudo_labels import aligned, confident, relative_threshold, selected_cross_entropy
from tl_research.losses.ramps import half_cosine_ramp
from tl_research.methods.base import Step
from tl_research.methods.views import ViewsConfig, ViewsModule
from tl_research.registry import register_method


@dataclass
class AdaMatchConfig(ViewsConfig):
    """Options of `adamatch`: the weights of its two losses, the relative threshold, the views."""

    name: str = "adamatch"
    weight: float = at_least(0, default=1.0)  # of the target's loss, at the end of its ramp
    source_weight: float = at_least(0, default=1.0)  # of the source's strong view
    threshold: float = share(default=0.9)  # tau: times the source's mean largest probability


@register_method(
    "adamatch",
    config=AdaMatchConfig,
    family="self_training",
    settings=("unsupervised", "few_shot"),
    paper="Berthelot et al. 2022, ICLR, section 3",
    no_null="on equal domains it is the loss of the model's own labels",
    no_gain="held against source_only on two moons (tests/methods/test_self_training.py)",
    targets=("class",),
)
class AdaMatch(ViewsModule):
    """CE(source) + source_weight * CE(source's strong view) + mu(t) weight * CE of confident target rows' strong views.

    Three parts beside FixMatch's. Random logit interpolation: the logits of the source's strong view are, entry by
    entry, between those of a batch with the target and those of a batch without it (they differ by batch norms alone).
    Distribution alignment: the target's probabilities on weak views are moved to the source's mean class shares.
    Relative threshold: a label is taken where its probability reaches `threshold` times the source's mean largest one.
    mu grows from 0 to 1 in the first half. The source's weak view is the source as it is, whose loss is the task loss.
    `train/taken` in the history is the share of target rows whose label is taken.

    Four views are encoded, so that a step takes four times that of `source_only` (docs/step_cost.md).
    """

    def terms(self, step: Step) -> dict[str, Tensor]:
        config, source = self.config, step.source
        strong = self.strong(step, "source")
        of_both, weak, target = step.views_in_one(
            ("source", strong), ("target", self.weak(step, "target")), ("target", self.strong(step, "target"))
        )
        (alone,) = step.views_in_one(("source", strong))
        mixed = self.uniform(step, "source", self.classes).to(alone.logits.dtype)
        logits = mixed * of_both.logits + (1 - mixed) * alone.logits
        known = source.logits.detach().softmax(dim=1)
        guessed = weak.logits.detach().softmax(dim=1)
        guessed = aligned(guessed, guessed.mean(dim=0), known.mean(dim=0))
        label, taken = confident(guessed, relative_threshold(known, config.threshold))
        step.report(taken=taken.float().mean())
        weight = config.weight * half_cosine_ramp(step.progress)
        return {
            "source_strong": config.source_weight * self.outcome.loss(logits, source.label),
            "adamatch": weight * selected_cross_entropy(target.logits, label, taken),
        }
