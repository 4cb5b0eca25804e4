"""Linear parameters of the target, shrunk towards those of its relatives by as much as the relatives agree."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tl_research.alignment.base import Rows
from tl_research.config import MethodConfig
from tl_research.data.batch import Samples
from tl_research.errors import DataError, keys_of
from tl_research.heads.base import PenaltyConfig
from tl_research.heads.relational import Group, RelationalLogistic, RelationalRidge
from tl_research.methods.fitted import FittedMethod
from tl_research.registry import register_method

#: By kind of outcome.
HEADS_OF = {"class": RelationalLogistic, "regression": RelationalRidge}


@dataclass
class RelationalPriorConfig(PenaltyConfig, MethodConfig):
    """Options of `relational_prior`: the penalty of every entity's own model."""

    name: str = "relational_prior"

    def __post_init__(self):
        with keys_of("method"):
            super().__post_init__()


@register_method(
    "relational_prior",
    config=RelationalPriorConfig,
    family="parameter",
    settings=("few_shot", "supervised"),
    paper="Efron & Morris 1973, JASA 68(341); Laird & Ware 1982, Biometrics 38(4), section 4",
    gain=0.02,
    encoder="identity",
)
class RelationalPrior(FittedMethod):
    """w_e ~ N(m, diag T) for every source domain and the target: ridge (numbers) or logistic regression (classes).

    A domain is an entity: a brand, a category, a shop. m, T and the noise are estimated from all domains, the
    target's labelled rows among them, and the target's parameters are their posterior mean (of classes: its maximum).
    With many labels, or relatives that disagree, they are the target's own; see `tl_research.heads.relational`. With
    `method.weighting` the sources' rows are weighted.
    """

    def build(self) -> None:
        self.head = HEADS_OF[self.outcome.kind](self.config)

    def prepare(self, source: Samples, target: Samples, target_labeled: Samples | None) -> None:
        self._entity = source.domain
        super().prepare(source, target, target_labeled)

    def fit_rows(self, source: Rows, target: Rows, labeled: Rows | None) -> None:
        if labeled is None or len(labeled.x) == 0:
            raise DataError("relational_prior: there is no target row with a label")
        groups = []
        for entity in self._entity.unique():
            rows = torch.nonzero(self._entity == entity)[:, 0]
            groups.append(Group(*(None if part is None else part[rows] for part in source)))
        prior = self.head.fit_groups([*groups, Group(*labeled)], classes=self.classes)
        self.facts |= {
            "entities": len(groups) + 1,
            "rounds": prior.rounds,
            "noise": prior.noise**0.5,
            "spread": float(prior.spread.mean().sqrt()),
        }
