"""`ClosedForm`: an alignment fitted once on whole domains, and a head on top of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from tl_research.alignment.base import Alignment, Rows
from tl_research.config import MethodConfig, check, check_choice
from tl_research.data.batch import Inputs, PairedBatch, Samples
from tl_research.encoders.base import require_trained
from tl_research.errors import ConfigError
from tl_research.heads.build import FITTED_HEADS, HEADS, make_head
from tl_research.methods.base import AdaptationModule
from tl_research.nn.mlp import mlp_layers
from tl_research.nn.rounding import unit_rows
from tl_research.parallel.ranks import is_distributed


@dataclass
class ClosedFormConfig(MethodConfig):
    """What every closed-form method has beside its own options."""

    head: str = "logistic"
    neighbours: int = 1  # head=nearest_neighbours
    penalty: float = 1.0  # heads logistic, ridge and linear_svm: of the squared norm (scikit-learn's 1 / C, or alpha)
    hidden: list[int] = field(default_factory=lambda: [100])  # head=mlp
    unit_length: bool = False  # scale the mapped rows to length 1 before the head

    def __post_init__(self):
        check_choice("method.head", self.head, HEADS)
        check(self.neighbours >= 1, "method.neighbours", self.neighbours, "at least 1")
        check(self.penalty > 0, "method.penalty", self.penalty, "a number above 0")
        check(all(width >= 1 for width in self.hidden), "method.hidden", list(self.hidden), "widths of 1 or more")
        if self.weighting is not None and self.head == "nearest_neighbours":
            raise ConfigError("method.weighting: head 'nearest_neighbours' takes no weights; method.head=logistic does")


class ClosedForm(AdaptationModule):
    """Rows of each domain through their own map of one `Alignment`, then a head: h(a_S(e(x))) and h(a_T(e(x))).

    The alignment is fitted in `prepare`, before the first step, on all training rows; so are the heads, but `mlp`,
    which is trained by gradient steps on the mapped rows. With a fitted head the run has one epoch without a step.
    So the encoder is `identity` or has pre-trained weights; with `mlp` behind an alignment that estimates nothing, any.
    The head sees source rows (with `method.weighting`, weighted) and the labelled target rows that the setting shows.

    Hook: `make_alignment`.
    """

    #: Whether the alignment is estimated from the encoder's features.
    estimates: ClassVar[bool] = True

    @classmethod
    def check_config(cls, config: DictConfig) -> None:
        head = getattr(config.method, "head", None)
        if cls.estimates or head in (None, *FITTED_HEADS):
            require_trained(config, f"method {config.method.name!r} is fitted to its features")

    @classmethod
    def needs_whole_weights(cls) -> str:
        return "is fitted in closed form, with the whole encoder, before the first step"

    def make_alignment(self) -> Alignment:
        """Return the unfitted alignment."""
        raise NotImplementedError

    def build(self) -> None:
        config = self.config
        self.alignment = self.make_alignment()
        if self.trains:
            width = self.alignment.width(self.encoder.out_features)
            layers, width = mlp_layers(width, config.hidden, activation="relu", dropout=0.0, batch_norm=False)
            self.head = nn.Sequential(layers, nn.Linear(width, self.classes))
            return
        self.head = make_head(
            config.head, neighbours=config.neighbours, penalty=config.penalty, regression=self.regression
        )

    @property
    def unit_length(self) -> bool:
        return getattr(self.config, "unit_length", False)

    @property
    def trains(self) -> bool:
        return self.config.head not in FITTED_HEADS

    def prepare(self, source: Samples, target: Samples, target_labeled: Samples | None) -> None:
        super().prepare(source, target, target_labeled)
        encoder_mode = self.encoder.training
        self.encoder.eval()
        with torch.no_grad():
            self._fit(source, target, target_labeled)
        self.encoder.train(encoder_mode)

    def _fit(self, source: Samples, target: Samples, target_labeled: Samples | None) -> None:
        weight = None if self.row_weights is None else self.row_weights.source
        source_rows = Rows(self.encoder(source.inputs), source.label, weight)
        target_rows = Rows(self.encoder(target.inputs))
        labeled = None if target_labeled is None else Rows(self.encoder(target_labeled.inputs), target_labeled.label)
        self.alignment.fit(
            self._for_alignment(source_rows),
            target_rows,
            labeled=self._for_alignment(labeled),
            classes=self.classes,
            seed=self.seed,
        )
        self.facts |= {"alignment": self.alignment.facts()}
        mapped = self._mapped(self.alignment.source, source_rows.x)
        if self.trains:
            expected = self.alignment.width(self.encoder.out_features)
            if mapped.shape[1] != expected:
                found = f"the rows have {mapped.shape[1]} directions"
                raise ConfigError(f"method.components: {found}, fewer than {expected}")
            return
        label = source.label
        if labeled is not None:
            mapped, label = (
                torch.cat([mapped, self._mapped(self.alignment.target, labeled.x)]),
                torch.cat([label, labeled.label]),
            )
            if weight is not None:
                weight = torch.cat([weight, weight.new_ones(len(labeled.label))])
        self.head.fit(mapped, label, weight, classes=self.classes, seed=self.seed)

    def _for_alignment(self, rows: Rows | None) -> Rows | None:
        """Alignments know labels as classes: of a regression they see none."""
        return rows._replace(label=None) if self.regression and rows is not None else rows

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        return self._classify(self.alignment.target, self.encoder(inputs))

    def forward_source(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        return self._classify(self.alignment.source, self.encoder(inputs))

    def _mapped(self, mapping: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        return unit_rows(mapping(x)) if self.unit_length else mapping(x)

    def _classify(self, mapping: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        # what was fitted in full precision is applied in it; a trained head may run in less
        with torch.autocast(x.device.type, enabled=False):
            features = self._mapped(mapping, x.float() if x.dtype in (torch.bfloat16, torch.float16) else x)
            if not self.trains:
                return features, self.head(features)
        return features, self.head(features)

    def training_step(self, batch: PairedBatch, batch_idx: int) -> Tensor | None:
        if self.trains:
            return super().training_step(batch, batch_idx)
        # Lightning lets no rank leave a step out.
        return torch.zeros((), requires_grad=True) if is_distributed() else None
