"""A prototypical network (Snell et al. 2017, NeurIPS, equations 1 and 2), trained on episodes."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from tl_research.config import MethodConfig
from tl_research.data.sampling.episodes import QUERY, SUPPORT
from tl_research.methods.base import AdaptationModule
from tl_research.registry import register_method


@dataclass
class PrototypicalConfig(MethodConfig):
    name: str = "toy_prototypes"


@register_method("toy_prototypes", config=PrototypicalConfig, family="meta", settings=("unsupervised",), paper="2017")
class Prototypical(AdaptationModule):
    """Cross-entropy of query rows over their distances to the means of support rows; the head learns beside it."""

    reads: ClassVar[frozenset[str]] = frozenset(("source",))
    sampler: ClassVar[str] = "episodes"

    def task_loss(self, rows, weight=None):
        classes, way = rows.label.unique(return_inverse=True)
        support, query = ((rows.extra["role"] == role).nonzero().squeeze(1) for role in (SUPPORT, QUERY))
        centres = torch.stack([rows.features[support][way[support] == k].mean(0) for k in range(len(classes))])
        distance = torch.cdist(rows.features[query], centres).square()
        return F.cross_entropy(-distance, way[query]) + F.cross_entropy(self.head(rows.features.detach()), rows.label)
