"""CAN: contrastive domain discrepancy with labels of clusters."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tl_research.config import MethodConfig, at_least, share
from tl_research.data.batch import Samples
from tl_research.kernels import bandwidth_ladder
from tl_research.losses.contrastive_domains import contrastive_discrepancy
from tl_research.losses.spherical_clusters import spherical_clusters
from tl_research.methods.base import AdaptationModule, Step
from tl_research.nn.fitted import Fitted
from tl_research.registry import register_method


@dataclass
class CANConfig(MethodConfig):
    """Options of `can`: the weight and when it begins, which rows and classes take part, and the kernels."""

    name: str = "can"
    weight: float = at_least(0, default=0.3)
    warm_up: float = share(one=False, default=0.3)  # of the training, on the source alone
    furthest: float = share(zero=False, default=0.05)  # rows nearer to their cluster's centre than this take part
    fewest: int = at_least(1, default=3)  # rows that a class of the target must have among them
    bandwidths: int = at_least(1, default=5)  # Gaussian kernels, a ladder of ratio 2 around the mean squared distance


@register_method(
    "can",
    config=CANConfig,
    family="feature",
    settings=("unsupervised", "few_shot"),
    targets=("class",),
    paper="Kang et al. 2019, CVPR, equations 3 to 8",
    no_null="its labels of target rows are those of clusters, whose classes stay apart where domains are equal",
    gain=0.03,
    problem=("method.furthest=1",),
)
class CAN(AdaptationModule):
    """Near within a class and far between classes: CE(source) + weight * (mean_c D(c, c) - mean_{c≠c'} D(c, c')).

    D is the squared kernel distance of a class of the source from one of the target (`losses.contrastive_domains`).
    Classes of target rows are those of a spherical k-means that begins at the source's class centres, made anew when an
    epoch has begun from the latest features of all target rows; in the first epoch they are of the batch. Only rows at
    most `furthest` from their centre take part, half of one minus the cosine, and classes of at least `fewest` of them.
    The paper draws batches by class (`data.sampler=balanced` does so of the source) and has one discrepancy per layer;
    here it is of the features. `train/clustered` in the history is the share of target rows that take part.

    Two moons turned by 30 degrees are no clusters about a direction: there it loses 4 points in the median of five
    seeds at its defaults, and gained nothing at four other settings.

    Clusters and kernel matrices by class take a step to four times that of `source_only` (docs/step_cost.md).
    """

    def build(self) -> None:
        self.memory = Fitted()  # features (rows, d), label (rows,), sums (C, d), epoch ()

    def prepare(self, source: Samples, target: Samples, target_labeled: Samples | None) -> None:
        super().prepare(source, target, target_labeled)
        device, width = target.index.device, self.encoder.out_features
        rows = int(target.index.max()) + 1
        self.memory.keep(
            features=torch.zeros(rows, width, device=device),
            label=torch.full((rows,), -1, device=device),
            sums=torch.zeros(self.classes, width, device=device),
            epoch=torch.zeros((), dtype=torch.long, device=device),
        )

    def terms(self, step: Step) -> dict[str, Tensor]:
        source, target, config = step.source, step.target, self.config
        label = self.memory.label[target.index] if int(self.memory.epoch) else self._of_the_batch(step)
        step.keep(
            features=target.features.detach(),
            index=target.index,
            of_source=source.features.detach(),
            label=source.label,
        )
        step.report(clustered=(label >= 0).float().mean())
        found = contrastive_discrepancy(
            source.features,
            source.label,
            target.features,
            label,
            classes=self.classes,
            bandwidths=bandwidth_ladder(source.features, target.features, count=config.bandwidths).sigmas,
        )
        weight = config.weight if step.progress >= config.warm_up else 0.0
        return {"within": weight * found.within, "between": -weight * found.between}

    def after_step(self, step: Step) -> None:
        memory = self.memory
        memory.features[step.kept("index")] = step.kept("features").to(memory.features.dtype)
        if self.current_epoch > int(memory.epoch):
            memory.epoch.fill_(self.current_epoch)
            memory.keep(label=self._clustered())
            memory.sums.zero_()
        unit = F.normalize(step.kept("of_source").to(memory.sums.dtype), dim=1)
        memory.sums.index_add_(0, step.kept("label"), unit)

    def _clustered(self) -> Tensor:
        """Classes of the target rows of an epoch; -1 where a row takes no part."""
        return self._labels(self.memory.features, self.memory.sums)

    def _of_the_batch(self, step: Step) -> Tensor:
        source = step.source
        unit = F.normalize(source.features.detach(), dim=1)
        sums = unit.new_zeros(self.classes, unit.shape[1]).index_add_(0, source.label, unit)
        return self._labels(step.target.features.detach(), sums)

    def _labels(self, features: Tensor, centres: Tensor) -> Tensor:
        """Classes of rows (n, d) by clusters that begin at the classes' centres (C, d); none without all centres."""
        config, known = self.config, features.abs().sum(dim=1) > 0
        if not bool(known.any()) or not bool((centres.abs().sum(dim=1) > 0).all()):
            return torch.full((len(features),), -1, device=features.device)
        found = spherical_clusters(features, centres)
        takes_part = known & (found.distance < config.furthest)
        counts = torch.bincount(found.label[takes_part], minlength=self.classes)
        takes_part &= counts[found.label] >= config.fewest
        return torch.where(takes_part, found.label, -1)
