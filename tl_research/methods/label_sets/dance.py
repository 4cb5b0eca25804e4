"""Domain adaptive neighbourhood clustering via entropy optimisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from tl_research.config import above, at_least
from tl_research.data.batch import Samples
from tl_research.evaluation.measure import predict
from tl_research.losses.label_sets import entropy_separation, neighbourhood_entropy
from tl_research.losses.target_probabilities import row_entropies
from tl_research.methods.base import Step
from tl_research.methods.rejecting import Rejecting, RejectingConfig
from tl_research.nn.cosine import CosineHead
from tl_research.nn.fitted import Fitted
from tl_research.registry import register_method


@dataclass
class DANCEConfig(RejectingConfig):
    """Options of `dance`: the weight of both terms, the temperature, and the entropies that are told apart."""

    name: str = "dance"
    weight: float = at_least(0, default=0.05)  # lambda
    temperature: float = above(0, default=0.05)  # of the head and of the similarities
    margin: float = at_least(0, default=0.5)  # m: rows whose entropy is as near as that to the threshold are left alone


@register_method(
    "dance",
    config=DANCEConfig,
    family="label_sets",
    settings=("unsupervised",),
    targets=("class",),
    label_sets=("open", "partial", "equal"),
    paper="Saito et al. 2020, NeurIPS, eq. 1 to 6",
    no_null="its terms read the target alone",
    no_gain="with its defaults it loses to source_threshold on small encoders (docs/label_sets.md)",
    problem=(
        "data.name=simulated_classes",
        "data.shift=2",
        "data.label_sets=open",
        "data.source_classes=[c0,c1,c2,c3,c4]",
    ),
)
class DANCE(Rejecting):
    """Target rows gather round each other or round a class; what gathers far from all classes is `unknown`.

    CE(source) + weight * (L_nc + L_es), of unit features and a head of unit prototypes:

        L_nc  entropy of a target row's similarities to all other target rows and to the prototypes
        L_es  mean_T of -|H(p) - ρ| where that is more than `margin` away, else 0; ρ is `threshold`

    The memory has the latest features of every target row; at first those of the untrained encoder. The paper gives
    each domain its own batch norm; here an encoder with batch norm sees both domains alike. Where no class is `unknown`
    (`data.label_sets=equal` or `partial`) the largest output predicts.
    """

    @classmethod
    def needs_whole_weights(cls) -> str | None:
        return "compares features with the weights of its head"

    def build(self) -> None:
        super().build()
        self.memory = Fitted()

    def make_head(self) -> nn.Module:
        return CosineHead(self.encoder.out_features, self.outcome.known_width, temperature=self.config.temperature)

    def prepare(self, source: Samples, target: Samples, target_labeled: Samples | None) -> None:
        super().prepare(source, target, target_labeled)
        features, _ = predict(self, target.inputs)
        self.memory.keep(features=F.normalize(features, dim=1).to(target.label.device))

    def terms(self, step: Step) -> dict[str, Tensor]:
        rows, config = step.target, self.config
        features = F.normalize(rows.features, dim=1)
        step.keep(features=features, index=rows.index)
        clusters = neighbourhood_entropy(
            features, rows.index, self.memory.features, self.head.prototypes, temperature=config.temperature
        )
        apart = entropy_separation(row_entropies(rows.logits), threshold=self.threshold, margin=config.margin)
        return {"neighbours": config.weight * clusters, "entropy": config.weight * apart}

    def after_step(self, step: Step) -> None:
        self.memory.features[step.kept("index")] = step.kept("features").to(self.memory.features.dtype)
