"""`ClosedForm`: an alignment fitted once to whole domains, and a head on top of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from tl_research.alignment.base import Alignment, Rows
from tl_research.config import MethodConfig, check, check_choice
from tl_research.data.batch import Inputs
from tl_research.errors import ConfigError, keys_of
from tl_research.heads.base import HEADS, Head, PenaltyConfig
from tl_research.heads.build import TRAINED_HEAD, fitted_heads, make_head
from tl_research.heads.nearest import NeighboursConfig
from tl_research.heads.outputs import Outputs
from tl_research.methods.fitted import FittedMethod, whole_precision
from tl_research.nn.mlp import mlp_layers
from tl_research.nn.rounding import unit_rows


@dataclass
class ClosedFormConfig(NeighboursConfig, PenaltyConfig, MethodConfig):
    """The head's keys, which every closed-form method has beside the options of its alignment.

    `neighbours` is of head=nearest_neighbours, `penalty` of logistic, ridge, linear_svm and boosting.
    """

    head: str = "logistic"
    hidden: list[int] = field(default_factory=lambda: [100])  # head=mlp
    unit_length: bool = False  # scale the mapped rows to length 1 before the head

    def __post_init__(self):
        check_choice("method.head", self.head, [*fitted_heads(), TRAINED_HEAD])
        with keys_of("method"):
            NeighboursConfig.__post_init__(self)
            PenaltyConfig.__post_init__(self)
        check(all(width >= 1 for width in self.hidden), "method.hidden", list(self.hidden), "widths of 1 or more")
        takes_weights = self.head == TRAINED_HEAD or HEADS["class"].get(self.head).target.takes_weights
        if self.weighting is not None and not takes_weights:
            raise ConfigError(f"method.weighting: head {self.head!r} takes no weights; method.head=logistic does")


class ClosedForm(FittedMethod):
    """Rows of each domain through their own map of one `Alignment`, then a head: h(a_S(e(x))) and h(a_T(e(x))).

    The alignment is fitted before the first step to all training rows; so are the heads, but `mlp`, which is trained
    by gradient steps on the mapped rows. The head sees source rows (with `method.weighting`, weighted) and the labelled
    target rows that the setting shows. `register_alignment` makes such a method.
    """

    #: What is fitted first.
    alignment_class: ClassVar[type[Alignment]]

    @property
    def engine(self) -> str:
        return "gradient" if self.draws_batches(self.config) else "fit"

    @classmethod
    def check_config(cls, config: DictConfig) -> None:
        if cls.alignment_class.estimates or not cls.draws_batches(config.method):
            super().check_config(config)

    @classmethod
    def draws_batches(cls, config: MethodConfig) -> bool:
        # A method with a head of its own names none.
        return getattr(config, "head", None) == TRAINED_HEAD

    def make_alignment(self) -> Alignment:
        """Return the unfitted alignment."""
        return self.alignment_class(self.config)

    def make_head(self) -> Head | nn.Module:
        """Return the unfitted head."""
        config = self.config
        if self.alignment.classifies:
            return Outputs()
        if self.engine == "gradient":
            width = self.alignment.width(self.encoder.out_features)
            layers, width = mlp_layers(width, config.hidden, activation="relu", dropout=0.0, batch_norm=False)
            return nn.Sequential(layers, nn.Linear(width, self.classes))
        with keys_of("method"):
            return make_head(config.head, of=self.outcome.kind, neighbours=config.neighbours, penalty=config.penalty)

    def build(self) -> None:
        self.alignment = self.make_alignment()
        self.head = self.make_head()

    def fit_rows(self, source: Rows, target: Rows, labeled: Rows | None) -> None:
        known, seen = self._for_alignment(source), self._for_alignment(labeled)
        self.alignment.fit(known, target, labeled=seen, classes=self.classes, seed=self.seed)
        self.facts |= {"alignment": self.alignment.facts()}
        mapped = self._mapped(self.alignment.source, source.x)
        if self.engine == "gradient":
            expected = self.alignment.width(self.encoder.out_features)
            if mapped.shape[1] != expected:
                raise ConfigError(f"components: the rows have {mapped.shape[1]} directions, fewer than {expected}")
            return
        _, label, weight = source
        if labeled is not None:
            mapped = torch.cat([mapped, self._mapped(self.alignment.target, labeled.x)])
            label = torch.cat([label, labeled.label])
            if weight is not None:
                weight = torch.cat([weight, weight.new_ones(len(labeled.label))])
        self.head.fit(mapped, label, weight, classes=self.classes, seed=self.seed)

    def _for_alignment(self, rows: Rows | None) -> Rows | None:
        """Alignments know labels as classes: of numbers they see none."""
        return None if rows is None else rows._replace(label=self.outcome.class_places(rows.label))

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        return self._classify(self.alignment.target, self.encoder(inputs))

    def forward_source(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        return self._classify(self.alignment.source, self.encoder(inputs))

    def _mapped(self, mapping: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        is_scaled = isinstance(self.config, ClosedFormConfig) and self.config.unit_length
        return unit_rows(mapping(x)) if is_scaled else mapping(x)

    def _classify(self, mapping: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(x.device.type, enabled=False):
            features = self._mapped(mapping, whole_precision(x))
            if self.engine == "fit":
                return features, self.head(features)
        # A trained head may run in less precision.
        return features, self.head(features)
