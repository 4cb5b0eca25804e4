"""Pseudo labels: the model's own predictions as labels of target rows."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.config import MethodConfig, at_least, check, share
from tl_research.losses.pseudo_labels import confident, selected_cross_entropy
from tl_research.losses.ramps import linear_ramp
from tl_research.methods.base import AdaptationModule, Step
from tl_research.registry import register_method


@dataclass
class PseudoLabelConfig(MethodConfig):
    """Options of `pseudo_label`: the weight and its ramp, and from which probability on a label is taken."""

    name: str = "pseudo_label"
    weight: float = at_least(0, default=3.0)  # alpha_f of the paper, at the end of the ramp
    ramp_start: float = share(default=0.1)  # where the ramp begins, as a share of the training
    ramp_end: float = share(default=0.6)
    threshold: float = share(default=0.0)  # 0: every label, as in the paper

    def __post_init__(self):
        super().__post_init__()
        known = f"at most method.ramp_end ({self.ramp_end:g})"
        check(self.ramp_start <= self.ramp_end, "method.ramp_start", self.ramp_start, known)


@register_method(
    "pseudo_label",
    config=PseudoLabelConfig,
    family="self_training",
    settings=("unsupervised", "few_shot"),
    paper="Lee 2013, ICML workshop on challenges in representation learning, section 2.2",
    no_null="on equal domains it is the loss of the model's own labels",
    no_gain="held against source_only on two moons (tests/methods/test_self_training.py)",
    targets=("class",),
)
class PseudoLabel(AdaptationModule):
    """Take predictions for labels: CE(source) + alpha * mean over target rows of 1[max p >= threshold] CE(z, argmax p).

    alpha grows linearly from 0 at `ramp_start` to `weight` at `ramp_end`; the paper has epochs 100 and 600.
    `train/taken` in the history is the share of target rows whose label is taken.

    The defaults do not gain 5 points on two moons: docs/self_training.md has the options that do, and why.
    """

    def terms(self, step: Step) -> dict[str, Tensor]:
        config, logits = self.config, step.target.logits
        label, taken = confident(logits.softmax(dim=1), config.threshold)
        step.report(taken=taken.float().mean())
        alpha = config.weight * linear_ramp(step.progress, config.ramp_start, config.ramp_end)
        return {"pseudo_label": alpha * selected_cross_entropy(logits, label, taken)}
