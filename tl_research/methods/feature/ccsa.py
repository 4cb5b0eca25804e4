"""Classification and contrastive semantic alignment."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.config import MethodConfig, above, at_least
from tl_research.losses.semantic_alignment import semantic_alignment
from tl_research.methods.base import AdaptationModule, Step
from tl_research.registry import register_method


@dataclass
class CCSAConfig(MethodConfig):
    """Options of `ccsa`: the weight of the alignment, and how far apart classes are to be."""

    name: str = "ccsa"
    weight: float = at_least(0, default=1 / 3)  # gamma / (1 - gamma) of the paper, whose code has gamma = 0.25
    margin: float = above(0, default=1.0)  # in units of the features


@register_method(
    "ccsa",
    config=CCSAConfig,
    family="feature",
    settings=("few_shot", "supervised"),
    targets=("class",),
    paper="Motiian et al. 2017, ICCV, section 3 (CCSA)",
    no_null="the distance of rows of one class is not 0 where domains are one",
    no_gain="on the problem of the contracts it is as good as union, to 0.1 points",
)
class CCSA(AdaptationModule):
    """Align by labels: few labelled target rows come close to source rows of their class, and leave the others.

    (CE(source) + CE(target_labeled)) / 2 + weight * mean over all pairs (s, t) of a batch of
    ½ ‖f_s - f_t‖² where both are of one class, ½ max(0, margin - ‖f_s - f_t‖)² where not.

    The paper takes the cross-entropy of source rows alone and pairs that were drawn beforehand.
    """

    reads = frozenset(("source", "target_labeled"))

    def terms(self, step: Step) -> dict[str, Tensor]:
        source, target = step.source, step.labeled
        value = semantic_alignment(
            source.features, source.label, target.features, target.label, margin=self.config.margin
        )
        return {"alignment": self.config.weight * value}
