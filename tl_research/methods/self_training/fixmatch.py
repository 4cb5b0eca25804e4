"""FixMatch: labels of weak views for strong views."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.config import at_least, share
from tl_research.losses.pseudo_labels import confident, selected_cross_entropy
from tl_research.methods.base import Step
from tl_research.methods.target_probabilities import LateConfig
from tl_research.methods.views import ViewsConfig, ViewsModule
from tl_research.registry import register_method


@dataclass
class FixMatchConfig(ViewsConfig, LateConfig):
    """Options of `fixmatch`: the target's weight, when it begins, from which probability on a label is taken, views."""

    name: str = "fixmatch"
    weight: float = at_least(0, default=1.0)
    threshold: float = share(default=0.95)


@register_method(
    "fixmatch",
    config=FixMatchConfig,
    family="self_training",
    settings=("unsupervised", "few_shot"),
    paper="Sohn et al. 2020, NeurIPS, eq. 4",
    no_null="on equal domains it is the loss of the model's own labels",
    no_gain="held against source_only on two moons (tests/methods/test_self_training.py)",
    targets=("class",),
)
class FixMatch(ViewsModule):
    """CE(source) + weight * mean over target rows of 1[max q >= threshold] CE(strong view, argmax q), q of a weak view.

    The source's rows are not changed. `train/taken` in the history is the share of target rows whose label is taken.

    The defaults do not gain 5 points on two moons: docs/self_training.md has the options that do, and why.
    """

    def terms(self, step: Step) -> dict[str, Tensor]:
        weak = step.view("target", self.weak(step, "target"))
        strong = step.view("target", self.strong(step, "target"))
        label, taken = confident(weak.logits.softmax(dim=1), self.config.threshold)
        step.report(taken=taken.float().mean())
        weight = self.config.weight if step.progress >= self.config.warm_up else 0.0
        return {"fixmatch": weight * selected_cross_entropy(strong.logits, label, taken)}
