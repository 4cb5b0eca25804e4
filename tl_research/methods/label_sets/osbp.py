"""Open set domain adaptation by backpropagation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tl_research.config import all_at_least, share
from tl_research.losses.adversarial import reverse_gradient
from tl_research.losses.label_sets import unknown_bce
from tl_research.methods.base import AdaptationModule, Step
from tl_research.methods.reversal import ReversalConfig, make_discriminator
from tl_research.registry import register_method


@dataclass
class OSBPConfig(ReversalConfig):
    """Options of `osbp`: the reversed gradient, the constant that stands for a label, and the classifier."""

    name: str = "osbp"
    ramp: bool = False  # the paper's weight is constant
    hidden: list[int] = all_at_least(1, fewest=0, default=[100])  # widths of the classifier's hidden layers
    share: float = share(zero=False, one=False, default=0.5)  # t: probability of unknown that the classifier aims at


@register_method(
    "osbp",
    config=OSBPConfig,
    family="label_sets",
    settings=("unsupervised",),
    targets=("class",),
    label_sets=("open",),
    paper="Saito et al. 2018, ECCV, eq. 1 to 6",
    no_null="its term reads the target alone",
    gain=0.05,
    gain_in="h_score",
    over=("source_threshold",),
    problem=(
        "data.name=simulated_classes",
        "data.shift=2",
        "data.label_sets=open",
        "data.source_classes=[c0,c1,c2,c3,c4]",
    ),
)
class OSBP(AdaptationModule):
    """The classifier puts target rows on the border of `unknown`; the encoder moves each of them off to one side.

    The classifier has an output for each class of the source and one for `unknown`, u its probability. With
    L = mean_T [-t ln u - (1 - t) ln(1 - u)],

        classifier:  min CE(source) + L        encoder:  min CE(source) - weight * L

    in one pass, by a reversed gradient between encoder and classifier. Rows that look like a known class lose their u,
    the others gain it. Without a term u would only fall, since no row has the label `unknown`.
    """

    def build(self) -> None:
        self.head = make_discriminator(self.encoder.out_features, self.config.hidden, self.classes)

    def terms(self, step: Step) -> dict[str, Tensor]:
        logits = self.head(reverse_gradient(step.target.features, self.config.scale(step.progress)))
        return {"unknown": unknown_bce(logits, share=self.config.share)}
